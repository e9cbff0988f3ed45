import type { Clock } from '../clock.ts';

/** How long a silence may last, in milliseconds: until something is heard for the first time, and after that. */
interface Patience {
  readonly firstMs: number;
  readonly thenMs: number;
}

/** Watches for silence. */
interface SilenceWatch {
  /** Something was heard. Costs next to nothing. */
  heard(): void;
  stop(): void;
}

/**
 * Calls `onSilence` when nothing has been heard for too long. There is one timer, however much is heard: it looks when
 * the patience would be over if nothing had come, and waits for the rest where something has.
 */
export function watchSilence(clock: Clock, { firstMs, thenMs }: Patience, onSilence: () => void): SilenceWatch {
  let patienceMs = firstMs;
  let heardAt = clock.monotonic();
  const look = () => {
    const leftMs = heardAt + patienceMs - clock.monotonic();
    if (leftMs <= 0) onSilence();
    else stop = clock.after(leftMs, look);
  };
  let stop = clock.after(firstMs, look);
  return {
    heard: () => {
      patienceMs = thenMs;
      heardAt = clock.monotonic();
    },
    stop: () => stop(),
  };
}
