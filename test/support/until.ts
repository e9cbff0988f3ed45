import { TIME_SCALE } from './time-scale.ts';

/**
 * Waits until `check` gives something other than undefined or false, asking again every 10 ms.
 * An error that `check` throws counts as not yet, and becomes the cause when time runs out.
 * @throws Error after `timeoutMs` (times TEST_TIME_SCALE), saying what was waited for
 */
export async function until<T>(
  what: string,
  check: () => T | Promise<T>,
  timeoutMs = 20_000,
): Promise<Exclude<T, undefined | false>> {
  const limitMs = timeoutMs * TIME_SCALE;
  const end = performance.now() + limitMs;
  let cause: unknown;
  while (performance.now() < end) {
    try {
      const value = await check();
      if (value !== undefined && value !== false) return value as Exclude<T, undefined | false>;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`waited ${limitMs} ms in vain: ${what}`, { cause });
}
