import { join } from 'node:path';
import { messageOf } from '../errors.ts';
import { watchDirectory } from '../linux/watch-directory.ts';
import type { Log } from '../log.ts';

/** What watchTaskDirs works with; `allocDir` is where the allocations' directories lie. */
interface TaskDirsWatchOptions {
  readonly allocDir: string;
  /** Names of entries beside the directories of tasks. */
  readonly others: readonly string[];
  /** Whether to tell of the first directory of an allocation alone. */
  readonly once: boolean;
  readonly onAllocation: (id: string) => void;
  readonly log: Log;
}

/**
 * Emits the id of an allocation when Nomad makes the directory of one of its tasks: its network is finished then, and where
 * no gate holds the creates of containers that is the time to show it. An allocation is watched from the first call of
 * `follow` on.
 */
export class TaskDirsWatch {
  readonly #options: TaskDirsWatchOptions;
  readonly #watches = new Map<string, () => void>();

  constructor(options: TaskDirsWatchOptions) {
    this.#options = options;
  }

  /** @param isThere whether the allocation has its directory */
  follow(id: string, isThere: boolean): void {
    const { allocDir, others, once, onAllocation, log } = this.#options;
    if (!isThere) {
      this.#watches.get(id)?.();
      this.#watches.delete(id);
      return;
    }
    if (this.#watches.has(id)) return;
    const path = join(allocDir, id);
    const stop = watchDirectory(path, {
      fromStart: true,
      onEntry: (name) => {
        if (others.includes(name)) return;
        onAllocation(id);
        if (once) this.follow(id, false);
      },
      onError: (error) => log.warn({ path, code: 'watch' }, `watching ${path}: ${messageOf(error)}`),
    });
    this.#watches.set(id, stop);
  }

  stop(): void {
    for (const stop of this.#watches.values()) stop();
    this.#watches.clear();
  }
}
