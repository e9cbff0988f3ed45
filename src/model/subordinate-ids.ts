import type { Refusal } from './explanation.ts';

/** Ids of the host that a user's containers may use beside the user's own: a line of subuid(5) or subgid(5). */
export interface SubordinateRange {
  /** A user's name, or uid in digits. */
  readonly owner: string;
  readonly start: number;
  readonly count: number;
}

/** Who has which ids of one kind. */
interface HostIds {
  readonly ranges: readonly SubordinateRange[];
  /** Ids of real users, or groups. */
  readonly real: readonly { readonly name: string; readonly id: number }[];
}

/** Who has which uids and gids of this host. */
export interface IdTable {
  readonly uid: HostIds;
  readonly gid: HostIds;
  /** Whether the ranges are those of /etc/subuid and /etc/subgid, which usermod(8) changes. */
  readonly isFromFiles: boolean;
}

interface IdOwner {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

type IdKind = 'uid' | 'gid';
/** A range of a user, and whose ids are in it as well, in words. */
interface SharedRange {
  readonly kind: IdKind;
  readonly range: SubordinateRange;
  readonly other: string;
}
type Range = Pick<SubordinateRange, 'start' | 'count'>;

const KINDS: readonly IdKind[] = ['uid', 'gid'];
/** As many ids as a container image can name, and the defaults of login.defs(5): SUB_UID_COUNT, SUB_UID_MIN, SUB_UID_MAX. */
const COUNT = 65_536;
const FIRST = 100_000;
const LAST = 600_100_000;
/** 2^32 - 1 is no id, setreuid(2). */
const MOST = 2 ** 32 - 1;

/** A line of subuid(5) or subgid(5); undefined for one that shadow's own parser passes over as well. */
export function parseSubordinateRange(line: string): SubordinateRange | undefined {
  const [, owner = '', start, count] = /^([^:\s]+):(\d{1,10}):(\d{1,10})\s*$/.exec(line) ?? [];
  const range = { owner, start: Number(start), count: Number(count) };
  return owner !== '' && range.count > 0 && range.start + range.count <= MOST ? range : undefined;
}

/**
 * Why a user's subordinate ids are not the user's alone, or that there are none; undefined where containers of this user can
 * be told from everybody else. Where two users' ranges overlap, one's containers can be root over the other's: send them signals,
 * read their files. An id of a real account in a range gives the containers what is that account's.
 * @param others accounts beside those of the table
 */
export function subordinateIdProblem(
  user: IdOwner,
  table: IdTable,
  others: readonly IdOwner[] = [],
): Refusal | undefined {
  const missing = missingKinds(user, table);
  const [shared] = sharedRanges(user, table, others);
  if (missing.length === 0 && !shared) return undefined;
  const remedy = subordinateIdRemedy(user, table, others);
  return shared && missing.length === 0 ? overlap(user, shared, table, remedy) : noRange(user, missing, remedy);
}

/** A command that gives a user ids of its own, and the range that it would have then. */
export interface IdRemedy {
  readonly command: string;
  /** Of these kinds there was no range; without one, ids have to be taken away first. */
  readonly adds: readonly ('uid' | 'gid')[] | undefined;
  readonly range: SubordinateRange;
}

/**
 * What mends the problem that subordinateIdProblem finds; undefined where there is none, where the ids do not come from the
 * files, and where no range is free.
 */
export function subordinateIdRemedy(
  user: IdOwner,
  table: IdTable,
  others: readonly IdOwner[] = [],
): IdRemedy | undefined {
  const shared = sharedRanges(user, table, others);
  const missing = missingKinds(user, table);
  const kinds = KINDS.filter((kind) => missing.includes(kind) || shared.some((one) => one.kind === kind));
  const free = table.isFromFiles && kinds.length > 0 ? freeRange(table, others) : undefined;
  if (!free) return undefined;
  const options = [
    ...shared.map(({ kind, range }) => `--del-sub${kind}s ${format(range)}`),
    ...kinds.map((kind) => `--add-sub${kind}s ${format(free)}`),
  ];
  const command = `usermod ${options.join(' ')} ${user.name}`;
  // usermod(8) takes no ids from a user who has processes: "is currently used by process", exit code 8.
  const whileStopped = `systemctl stop user-${user.uid}.slice; ${command}; systemctl start user@${user.uid}.service`;
  const isShared = shared.length > 0;
  return {
    command: isShared ? whileStopped : command,
    adds: isShared ? undefined : kinds,
    range: { owner: user.name, ...free },
  };
}

function overlap(
  { name }: IdOwner,
  { kind, range, other }: SharedRange,
  { isFromFiles }: IdTable,
  remedy: IdRemedy | undefined,
): Refusal {
  const byHand = isFromFiles
    ? `give ${name} a range of its own in /etc/sub${kind}`
    : `have the source of subid in nsswitch.conf give ${name} ids of its own`;
  const advice = remedy ? `run: ${remedy.command}; then, as ${name}: podman system migrate` : byHand;
  const reason = `subordinate ${kind}s ${format(range)} of user ${name} overlap ${other}: each could act as the other; ask the operator to ${advice}`;
  return { code: 'subordinate_ids_overlap', reason };
}

function noRange({ name }: IdOwner, kinds: readonly IdKind[], remedy: IdRemedy | undefined): Refusal {
  const files = kinds.map((kind) => `/etc/sub${kind}`).join(' and ');
  const advice = remedy ? `run: ${remedy.command}` : `add one of ${COUNT} ids that nobody else has`;
  return {
    code: 'no_subordinate_ids',
    reason: `user ${name} has no range in ${files}; ask the operator to ${advice}`,
  };
}

function missingKinds(user: IdOwner, table: IdTable): IdKind[] {
  return KINDS.filter((kind) => rangesOf(user, table[kind]).length === 0);
}

/** The ranges of a user in which there are ids of somebody else, and whose. */
function sharedRanges(user: IdOwner, table: IdTable, others: readonly IdOwner[]): SharedRange[] {
  return KINDS.flatMap((kind) =>
    rangesOf(user, table[kind]).flatMap((range) => {
      const other = otherIn(range, user, kind, table[kind], others);
      return other === undefined ? [] : [{ kind, range, other }];
    }),
  );
}

/** How many ids of each kind a user has. */
export function subordinateIdCounts(user: IdOwner, table: IdTable): Record<IdKind, number> {
  const count = (kind: IdKind) => rangesOf(user, table[kind]).reduce((sum, range) => sum + range.count, 0);
  return { uid: count('uid'), gid: count('gid') };
}

function rangesOf({ name, uid }: IdOwner, { ranges }: HostIds): SubordinateRange[] {
  const digits = String(uid);
  return ranges.filter(({ owner }) => owner === name || owner === digits);
}

/** Whose ids are in the range as well, in words. A user's own second range, or own id, is nobody else's. */
function otherIn(
  { start, count }: SubordinateRange,
  user: IdOwner,
  kind: IdKind,
  { ranges, real }: HostIds,
  others: readonly IdOwner[],
): string | undefined {
  const end = start + count;
  const digits = String(user.uid);
  const other = ranges.find(
    (one) => one.start < end && start < one.start + one.count && one.owner !== user.name && one.owner !== digits,
  );
  if (other) return `those of ${other.owner}, ${format(other)}`;
  const isIn = (id: number) => id >= start && id < end && id !== user[kind];
  const found = real.find(({ id }) => isIn(id));
  if (found) return `${kind} ${found.id} of ${found.name}`;
  const account = others.find((one) => one.uid !== user.uid && isIn(one[kind]));
  return account && `${kind} ${account[kind]} of ${account.name}`;
}

/** The first range that has no id of anybody, of either kind; undefined where all is given away. */
function freeRange({ uid, gid }: IdTable, others: readonly IdOwner[]): Range | undefined {
  const ids = [...uid.real, ...gid.real, ...others.flatMap((one) => [{ id: one.uid }, { id: one.gid }])];
  const taken = [...uid.ranges, ...gid.ranges, ...ids.map(({ id }) => ({ start: id, count: 1 }))].sort(
    (a, b) => a.start - b.start,
  );
  let start = FIRST;
  for (const range of taken) {
    if (range.start >= start + COUNT) break;
    start = Math.max(start, range.start + range.count);
  }
  return start + COUNT - 1 <= LAST ? { start, count: COUNT } : undefined;
}

/** As usermod(8) takes it. */
function format({ start, count }: Range): string {
  return `${start}-${start + count - 1}`;
}
