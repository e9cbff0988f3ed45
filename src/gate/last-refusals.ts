import type { Clock } from '../clock.ts';
import type { GateRefusal } from '../model/status.ts';

/** Of each user: one whose jobs are refused all day takes nobody else's from the list. */
const MOST_KEPT = 20;
/** What is in it is a job author's: paths, names. */
const MOST_REASON = 2000;
const MOST_NAME = 200;

/** What the gates have last turned away, for people. Forgotten when the agent ends: the log has it too. */
export class LastRefusals {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #byUser = new Map<string, GateRefusal[]>();

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
  }

  note(refusal: Omit<GateRefusal, 'at'>): void {
    const { user, task, reason } = refusal;
    const kept = { ...refusal, task: task?.slice(0, MOST_NAME), reason: reason.slice(0, MOST_REASON) };
    const ofUser = this.#byUser.get(user) ?? [];
    this.#byUser.set(user, [{ at: this.#clock.now(), ...kept }, ...ofUser].slice(0, MOST_KEPT));
  }

  /** The newest first. */
  list(): GateRefusal[] {
    return [...this.#byUser.values()].flat().sort((a, b) => b.at - a.at);
  }
}
