import type { UserNeeds } from '../model/user-needs.ts';
import type { Step, UserResource } from '../resources/resource.ts';
import { settle, takeAway } from './settle.ts';

/** What user passes work with. */
interface UserPassesOptions {
  readonly resources: readonly UserResource[];
  /** What is known now that the allocations of a user need. */
  readonly needsOf: (uid: number) => UserNeeds;
  /** Whether it is known of every allocation on this host what it should have. */
  readonly isComplete: () => boolean;
  /** Applies a step, and tells of it. @param id the allocation that lacked it */
  readonly apply: (step: Step, uid: number, id?: string) => Promise<void>;
  /** Told of what could not be taken away. */
  readonly onFailure: (error: unknown) => void;
}

interface Wanted {
  /** The allocations that are to get what they lack, and who waits for that. */
  readonly due: Map<string, PromiseWithResolvers<void>>;
  /** Who waits until what nobody needs is gone. */
  cleared: PromiseWithResolvers<void> | undefined;
}

/**
 * Brings what the allocations of a user have together to what all of them need: volumes that they share, rights on these, and the
 * tree in which she is shown things. A user has one pass at a time, and only such passes touch any of it: so no two of them
 * contradict each other, and what one decides by what is outdated the next one corrects, which whoever has changed it waits for.
 *
 * The key is the user and not the node, since a pass waits for her Podman: nobody else is to wait for that. It takes no slot of the
 * queue: the pass over an allocation that waits for it has one.
 */
export class UserPasses {
  readonly #options: UserPassesOptions;
  readonly #wanted = new Map<number, Wanted>();
  readonly #running = new Map<number, Promise<void>>();
  #isClearingDue = false;
  #clearing: Promise<void> | undefined;
  #isStopped = false;

  constructor(options: UserPassesOptions) {
    this.#options = options;
  }

  /**
   * Resolves once an allocation has what it needs of what the user's allocations share, by a pass that begins after the call.
   * @throws what keeps it from that; what keeps another one of the user's does not
   */
  settle(uid: number, id: string): Promise<void> {
    const { due } = this.#wantedOf(uid);
    const waiting = due.get(id) ?? Promise.withResolvers<void>();
    due.set(id, waiting);
    this.#begin(uid);
    return waiting.promise;
  }

  /**
   * Resolves once a pass that begins after the call has taken away what no allocation of the user needs; at once where that is not
   * known of all allocations: then nothing is taken away before it is. What cannot be taken away is reported.
   */
  async clear(uid: number): Promise<void> {
    if (!this.#options.isComplete()) {
      this.#isClearingDue = true;
      return;
    }
    const wanted = this.#wantedOf(uid);
    wanted.cleared ??= Promise.withResolvers();
    this.#begin(uid);
    await wanted.cleared.promise;
  }

  /** Has that done for all users, one after the other, as soon as it is known what all allocations need. */
  clearAll(): void {
    this.#isClearingDue = true;
    this.proceed();
  }

  /** More is known than before: what waited for that begins. */
  proceed(): void {
    if (!this.#isClearingDue || this.#clearing || this.#isStopped || !this.#options.isComplete()) return;
    this.#isClearingDue = false;
    this.#clearing = this.#clearEach().finally(() => {
      this.#clearing = undefined;
      this.proceed();
    });
  }

  /** Resolves when the passes that run have ended. Nobody must wait for others by then. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#clearing;
    await Promise.all(this.#running.values());
  }

  async #clearEach(): Promise<void> {
    try {
      const uids = new Set(this.#options.resources.flatMap((resource) => [...resource.uids()]));
      for (const uid of uids) if (!this.#isStopped) await this.clear(uid);
    } catch (error) {
      this.#options.onFailure(error);
    }
  }

  #wantedOf(uid: number): Wanted {
    const wanted = this.#wanted.get(uid) ?? { due: new Map(), cleared: undefined };
    this.#wanted.set(uid, wanted);
    return wanted;
  }

  #begin(uid: number): void {
    if (!this.#running.has(uid)) this.#running.set(uid, this.#run(uid));
  }

  async #run(uid: number): Promise<void> {
    for (let wanted = this.#wanted.get(uid); wanted; wanted = this.#wanted.get(uid)) {
      this.#wanted.delete(uid);
      for (const [id, { resolve, reject }] of wanted.due) await this.#give(uid, id).then(resolve, reject);
      if (wanted.cleared) await this.#takeAway(uid).then(wanted.cleared.resolve, wanted.cleared.reject);
    }
    this.#running.delete(uid);
  }

  async #give(uid: number, id: string): Promise<void> {
    const { resources, needsOf, apply } = this.#options;
    const needs = needsOf(uid);
    for (const resource of resources) {
      await settle(
        () => resource.plan(id, needs),
        async (steps) => {
          for (const step of steps) await apply(step, uid, id);
        },
      );
    }
  }

  async #takeAway(uid: number): Promise<void> {
    const { resources, needsOf, apply, onFailure } = this.#options;
    for (const resource of resources) {
      const plan = () => {
        const needs = needsOf(uid);
        if (!needs.isComplete) this.#isClearingDue = true;
        return needs.isComplete ? resource.planRemoval(needs) : [];
      };
      await takeAway(plan, (step) => apply(step, uid), onFailure);
    }
  }
}
