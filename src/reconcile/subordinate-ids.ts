import { eachLine, versionOf } from '../linux/root-text.ts';
import { askSubordinateIds } from '../linux/subordinate-id-service.ts';
import type { Refusal } from '../model/explanation.ts';
import {
  type IdRemedy,
  type IdTable,
  parseSubordinateRange,
  type SubordinateRange,
  subordinateIdCounts,
  subordinateIdProblem,
  subordinateIdRemedy,
} from '../model/subordinate-ids.ts';
import type { HostUser } from './host-user.ts';

/** Of one file. A line is some 20 bytes, so that is half a million users. */
const MOST_BYTES = 16 * 1024 * 1024;
/** Users whose ranges another source than files was asked for; only those of the configuration are compared. */
const MOST_KEPT = 1000;

/** The files that say who has which ids; tests have their own. */
export interface IdFiles {
  readonly subuid: string;
  readonly subgid: string;
  readonly passwd: string;
  readonly group: string;
  readonly nsswitch: string;
}

const FILES: IdFiles = {
  subuid: '/etc/subuid',
  subgid: '/etc/subgid',
  passwd: '/etc/passwd',
  group: '/etc/group',
  nsswitch: '/etc/nsswitch.conf',
};

type OfUser = Readonly<Record<'uid' | 'gid', readonly SubordinateRange[]>>;

/** What is said of a user's subordinate ids; `counts` is undefined where their source does not say. */
interface IdJudgement {
  readonly problem: Refusal | undefined;
  readonly counts: { readonly uid: number; readonly gid: number } | undefined;
  readonly remedy: IdRemedy | undefined;
}

/**
 * Whether subordinate ids of users are theirs alone, by the files of this host, which only root writes and which are read again
 * when they have changed: all ranges in them count, whoever's they are. Where nsswitch.conf names another source of ranges, that
 * one is asked by user, and so only the users of the configuration can be compared.
 *
 * Does not see real accounts that are in neither file and not in the configuration: a directory is not listed.
 */
export class SubordinateIds {
  readonly #files: IdFiles;
  readonly #askSource: typeof askSubordinateIds;
  #table: IdTable = { uid: { ranges: [], real: [] }, gid: { ranges: [], real: [] }, isFromFiles: true };
  #versions = '';
  #reading: Promise<void> | undefined;
  readonly #asked = new Map<string, OfUser | undefined>();
  #changes = 0;

  /** @param askSource asks the other source, where there is one */
  constructor(files: IdFiles = FILES, askSource = askSubordinateIds) {
    this.#files = files;
    this.#askSource = askSource;
  }

  /** Grows whenever problemOf may say something else than before. */
  get changes(): number {
    return this.#changes;
  }

  /** Reads what has changed, and asks for this user's ranges where files do not say. @throws as eachLine */
  async refresh({ name }: Pick<HostUser, 'name'>, signal: AbortSignal): Promise<void> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
    });
    await this.#reading;
    if (this.#table.isFromFiles) return;
    const [uid, gid] = await Promise.all([this.#ask(name, 'uid', signal), this.#ask(name, 'gid', signal)]);
    const found = uid && gid && { uid, gid };
    if (JSON.stringify(found) === JSON.stringify(this.#asked.get(name)) && this.#asked.has(name)) return;
    this.#asked.delete(name);
    this.#asked.set(name, found);
    for (const oldest of this.#asked.keys()) {
      if (this.#asked.size <= MOST_KEPT) break;
      this.#asked.delete(oldest);
    }
    this.#changes++;
  }

  /**
   * Why a user must not run containers with the subordinate ids that it has; undefined where nothing speaks against it, or the
   * source of them does not say.
   * @param configured the accounts of the configuration's users, as far as they are known
   */
  problemOf(user: HostUser, configured: readonly HostUser[]): Refusal | undefined {
    const table = this.#tableFor(user, configured);
    return table && subordinateIdProblem(user, table, configured);
  }

  /**
   * The problem, how many ids the user has, and a command that mends it.
   * @param promised ranges that others are advised to take: who follows two remedies must not give the same ids twice
   */
  judge(user: HostUser, configured: readonly HostUser[], promised: readonly SubordinateRange[]): IdJudgement {
    const table = this.#tableFor(user, configured);
    if (!table) return { problem: undefined, counts: undefined, remedy: undefined };
    const { uid, gid } = table;
    const withPromised = { ...table, uid: { ...uid, ranges: [...uid.ranges, ...promised] }, gid };
    return {
      problem: subordinateIdProblem(user, withPromised, configured),
      counts: subordinateIdCounts(user, table),
      remedy: subordinateIdRemedy(user, withPromised, configured),
    };
  }

  /** Undefined where the source of the ranges does not say. */
  #tableFor(user: HostUser, configured: readonly HostUser[]): IdTable | undefined {
    if (this.#table.isFromFiles) return this.#table;
    return this.#asked.get(user.name) && this.#tableOf([user, ...configured]);
  }

  #tableOf(users: readonly HostUser[]): IdTable {
    const names = [...new Set(users.map(({ name }) => name))];
    const ranges = (kind: 'uid' | 'gid') => names.flatMap((name) => this.#asked.get(name)?.[kind] ?? []);
    return {
      uid: { ...this.#table.uid, ranges: ranges('uid') },
      gid: { ...this.#table.gid, ranges: ranges('gid') },
      isFromFiles: false,
    };
  }

  async #read(): Promise<void> {
    const files = this.#files;
    const versions = (await Promise.all(Object.values(files).map(versionOf))).join('\n');
    if (versions === this.#versions) return;
    let source = 'files';
    await eachLine(files.nsswitch, MOST_BYTES, (line) => {
      source = /^\s*subid:\s*([^\s#]*)/.exec(line)?.[1] ?? source;
    });
    const uidRanges = await rangesIn(files.subuid);
    const gidRanges = await rangesIn(files.subgid);
    const users = await accountsIn(files.passwd);
    const groups = await accountsIn(files.group);
    this.#table = {
      uid: { ranges: uidRanges, real: users },
      gid: { ranges: gidRanges, real: groups.map(({ name, id }) => ({ name: `group ${name}`, id })) },
      isFromFiles: source === 'files' || source === '',
    };
    this.#versions = versions;
    this.#changes++;
  }

  async #ask(name: string, kind: 'uid' | 'gid', signal: AbortSignal): Promise<SubordinateRange[] | undefined> {
    const ranges = await this.#askSource(name, kind, signal);
    return ranges?.map((range) => ({ ...range, owner: name }));
  }
}

async function rangesIn(path: string): Promise<SubordinateRange[]> {
  const ranges: SubordinateRange[] = [];
  await eachLine(path, MOST_BYTES, (line) => {
    const range = parseSubordinateRange(line);
    if (range) ranges.push(range);
  });
  return ranges;
}

/** passwd(5) and group(5) begin alike: name:password:id. */
async function accountsIn(path: string): Promise<{ name: string; id: number }[]> {
  const accounts: { name: string; id: number }[] = [];
  await eachLine(path, MOST_BYTES, (line) => {
    const [, name = '', id] = /^([^:#+-][^:]*):[^:]*:(\d{1,10})(?::|$)/.exec(line) ?? [];
    if (name !== '') accounts.push({ name, id: Number(id) });
  });
  return accounts;
}
