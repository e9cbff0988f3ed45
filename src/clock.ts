/** The only door to time. Tests hand in a clock of their own; nothing else in src/ calls Date, timers, performance or AbortSignal.timeout. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** Milliseconds of a clock that never goes back, for durations. */
  monotonic(): number;
  /** Resolves after `ms`; rejects with the signal's reason when it is aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Calls `action` after `ms` unless the returned function is called before. Does not keep the process alive. */
  after(ms: number, action: () => void): () => void;
}

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const onAbort = () => {
        clearTimeout(timer);
        reject(signal?.reason);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      }, ms);
      signal?.addEventListener('abort', onAbort, { once: true });
    }),
  after: (ms, action) => {
    const timer = setTimeout(action, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/**
 * A signal that is aborted after `ms` of the machine's own time, with a TimeoutError: for a tool or a request that has to be
 * given up on, where no test would want another clock.
 */
export function signalAfter(ms: number): AbortSignal {
  return AbortSignal.timeout(ms);
}

/** Sleeps, or until the signal is aborted: waking early is no failure here. */
export async function rest(clock: Pick<Clock, 'sleep'>, ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await clock.sleep(ms, signal);
  } catch (error) {
    if (!signal?.aborted) throw error;
  }
}

/** What a promise resolves with, or undefined where `ms` pass before. @throws what the promise rejects with before */
export async function within<T>(clock: Pick<Clock, 'after'>, ms: number, promise: Promise<T>): Promise<T | undefined> {
  let stop: () => void = () => undefined;
  const late = new Promise<undefined>((resolve) => {
    stop = clock.after(ms, () => resolve(undefined));
  });
  return await Promise.race([promise, late]).finally(stop);
}

/** Lets whatever waits for the main thread have it: to be awaited within long work, so that no step of it takes 50 ms. */
export function letOthersRun(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
