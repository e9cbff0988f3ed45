import type { Clock } from '../clock.ts';
import type { HeldCreate } from '../model/status.ts';
import type { CreateTarget } from './create-target.ts';

/** One request that is being held. */
export interface Hold extends Disposable {
  /** Whose task it is for; undefined until that is known. */
  target: CreateTarget | undefined;
}

/** What the gates hold now, for people. No longer than the connections that the driver has opened. */
export class Holds {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #holds = new Map<Hold, Pick<HeldCreate, 'user' | 'since'>>();

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
  }

  /** Disposed of when it is held no longer. */
  begin(user: string): Hold {
    const hold: Hold = { target: undefined, [Symbol.dispose]: () => void this.#holds.delete(hold) };
    this.#holds.set(hold, { user, since: this.#clock.now() });
    return hold;
  }

  /** The one that has waited longest comes first. */
  list(): HeldCreate[] {
    return [...this.#holds].map(([{ target }, known]) => ({
      ...known,
      allocationId: target?.allocationId,
      task: target?.task,
    }));
  }
}
