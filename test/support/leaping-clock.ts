import type { Clock } from '../../src/clock.ts';

/** A clock by which so much time has passed each time it is read that nothing is fresh any more. */
export class LeapingClock implements Pick<Clock, 'monotonic'> {
  #elapsed = 0;

  monotonic(): number {
    this.#elapsed += 1_000_000;
    return this.#elapsed;
  }
}
