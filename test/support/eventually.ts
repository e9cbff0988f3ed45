import { vi } from 'vitest';
import { TIME_SCALE } from './time-scale.ts';

/**
 * Waits until an assertion holds, asking again every 5 ms. vi.waitFor gives up after a second, which a busy machine can stand still for.
 * @returns what it gives @throws its last error after 20 seconds (times TEST_TIME_SCALE)
 */
export function eventually<T>(assertion: () => T | Promise<T>): Promise<T> {
  return vi.waitFor(assertion, { timeout: 20_000 * TIME_SCALE, interval: 5 });
}
