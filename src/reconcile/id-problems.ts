import type { Log } from '../log.ts';
import type { Refusal } from '../model/explanation.ts';
import type { AccountEntry } from './account-entry.ts';
import type { SubordinateIds } from './subordinate-ids.ts';

/** Says of accounts what speaks against their subordinate ids, and looks again only where something that it goes by has changed: passes ask all the time. */
export class IdProblems {
  readonly #ids: Pick<SubordinateIds, 'problemOf' | 'changes'>;
  readonly #configured: () => readonly AccountEntry[];
  readonly #log: Log;
  #changes = 0;

  /** @param configured the users of the configuration */
  constructor(ids: Pick<SubordinateIds, 'problemOf' | 'changes'>, configured: () => readonly AccountEntry[], log: Log) {
    this.#ids = ids;
    this.#configured = configured;
    this.#log = log;
  }

  /** The users of the configuration have changed, or an account of theirs. */
  usersChanged(): void {
    this.#changes++;
  }

  /** Undefined where nothing speaks against them, or there is no account. */
  of(entry: AccountEntry): Refusal | undefined {
    const { account } = entry;
    if (!account) return undefined;
    const by = `${this.#ids.changes} ${this.#changes}`;
    if (entry.judged?.by !== by) {
      const configured = this.#configured().flatMap((one) => one.account ?? []);
      entry.judged = { by, problem: this.#ids.problemOf(account, configured) };
    }
    return entry.judged.problem;
  }

  /** Logs what is new with the users of the configuration, of whom one can have become the problem of another. */
  report(): void {
    for (const entry of this.#configured()) {
      const problem = this.of(entry);
      if (problem?.reason === entry.reportedProblem) continue;
      entry.reportedProblem = problem?.reason;
      if (problem) this.#log.warn({ user: entry.user, code: problem.code }, problem.reason);
    }
  }
}
