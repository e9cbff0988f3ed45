import type { Clock } from '../clock.ts';
import { messageOf } from '../errors.ts';
import type { Log } from '../log.ts';
import { WarnedOnce } from '../warned-once.ts';

/** Begins to watch a directory. @returns a function that ends it */
type StartWatch = (onError: (error: Error) => void) => () => void;

interface HostWatch {
  readonly start: StartWatch;
  stop: () => void;
  problem: string | undefined;
}

/**
 * Watches of directories of this host that may fail: root's inotify instances and watches can be used up by anybody's program of
 * root's. Without them events and listings still tell of everything, only later.
 */
export class HostWatches {
  readonly #watches = new Map<string, HostWatch>();
  readonly #log: Log;
  readonly #warned: WarnedOnce;

  /** @param starts what begins to watch each directory, by its path */
  constructor(starts: Readonly<Record<string, StartWatch>>, { clock, log }: { clock: Clock; log: Log }) {
    this.#log = log;
    this.#warned = new WarnedOnce(clock);
    for (const [path, start] of Object.entries(starts)) this.#start(path, start);
  }

  /** Begins anew with those that have failed. */
  retry(): void {
    for (const [path, watch] of this.#watches) {
      const { start, stop, problem } = watch;
      if (problem === undefined) continue;
      watch.problem = undefined;
      stop();
      this.#start(path, start);
    }
  }

  /** Which directories are not watched, in words: why, what it costs, and what to do. */
  warnings(): string[] {
    return [...this.#watches].flatMap(([path, { problem }]) => {
      if (problem === undefined) return [];
      const cost = 'changes there are found only through events and listings of Nomad';
      return `${path} cannot be watched (${problem}): ${cost}; raise fs.inotify.max_user_instances or fs.inotify.max_user_watches`;
    });
  }

  stop(): void {
    for (const { stop } of this.#watches.values()) stop();
    this.#watches.clear();
  }

  #start(path: string, start: StartWatch): void {
    const watch: HostWatch = { start, stop: () => undefined, problem: undefined };
    this.#watches.set(path, watch);
    watch.stop = start((error) => {
      watch.problem = messageOf(error);
      const level = this.#warned.levelOf(path, watch.problem);
      this.#log[level]({ path, code: 'watch' }, `watching ${path}: ${watch.problem}`);
    });
  }
}
