import type { Log } from '../../src/log.ts';

/** A log that nobody reads, for tests that look at something else. */
export const silent: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing, child: () => silent };

function nothing(): void {
  // That is all it does.
}
