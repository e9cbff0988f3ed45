import type { Refusal } from './explanation.ts';

/** Ids of the host that a user's containers may use beside the user's own: a line of subuid(5) or subgid(5). */
export interface SubordinateRange {
  /** A user's name, or uid in digits. */
  readonly owner: string;
  readonly start: number;
  readonly count: number;
}

/** Who has which ids of one kind. */
export interface HostIds {
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
  const missing = KINDS.filter((kind) => rangesOf(user, table[kind]).length === 0);
  if (missing.length > 0) return noRange(user, missing, table, others);
  for (const kind of KINDS) {
    for (const range of rangesOf(user, table[kind])) {
      const other = otherIn(range, user, kind, table[kind], others);
      if (other === undefined) continue;
      const remedy = remedyOf(user.name, range, kind, table, others);
      const reason = `subordinate ${kind}s ${format(range)} of user ${user.name} overlap ${other}: each could act as the other; ask the operator to ${remedy}`;
      return { code: 'subordinate_ids_overlap', reason };
    }
  }
  return undefined;
}

function remedyOf(
  name: string,
  range: SubordinateRange,
  kind: IdKind,
  table: IdTable,
  others: readonly IdOwner[],
): string {
  if (!table.isFromFiles) return `have the source of subid in nsswitch.conf give ${name} ids of its own`;
  const free = freeRange(table, others);
  if (free === undefined) return `give ${name} a range of its own in /etc/sub${kind}`;
  const option = `sub${kind}s`;
  return `run: usermod --del-${option} ${format(range)} --add-${option} ${free} ${name}; then, as ${name}: podman system migrate`;
}

function noRange({ name }: IdOwner, kinds: readonly IdKind[], table: IdTable, others: readonly IdOwner[]): Refusal {
  const files = kinds.map((kind) => `/etc/sub${kind}`).join(' and ');
  const free = freeRange(table, others);
  const remedy =
    free === undefined
      ? `add one of ${COUNT} ids that nobody else has`
      : `run: usermod ${kinds.map((kind) => `--add-sub${kind}s ${free}`).join(' ')} ${name}`;
  return {
    code: 'no_subordinate_ids',
    reason: `user ${name} has no range in ${files}; ask the operator to ${remedy}`,
  };
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

/** The first range that has no id of anybody, of either kind, as usermod(8) takes it; undefined where all is given away. */
function freeRange({ uid, gid }: IdTable, others: readonly IdOwner[]): string | undefined {
  const ids = [...uid.real, ...gid.real, ...others.flatMap((one) => [{ id: one.uid }, { id: one.gid }])];
  const taken = [...uid.ranges, ...gid.ranges, ...ids.map(({ id }) => ({ start: id, count: 1 }))].sort(
    (a, b) => a.start - b.start,
  );
  let start = FIRST;
  for (const range of taken) {
    if (range.start >= start + COUNT) break;
    start = Math.max(start, range.start + range.count);
  }
  return start + COUNT - 1 <= LAST ? format({ start, count: COUNT }) : undefined;
}

function format({ start, count }: Pick<SubordinateRange, 'start' | 'count'>): string {
  return `${start}-${start + count - 1}`;
}
