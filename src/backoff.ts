/** Waiting times between tries: doubling from `firstMs` up to `mostMs`, each shortened at random by up to a half, so that many do not come at once. */
export interface BackoffOptions {
  readonly firstMs: number;
  readonly mostMs: number;
}

/** The wait, in ms, after the given number of failures in a row (1 or more). `random` is in [0, 1). */
export function backoffMs(failures: number, { firstMs, mostMs }: BackoffOptions, random: number): number {
  const full = Math.min(mostMs, firstMs * 2 ** Math.min(failures - 1, 30));
  return full * (1 - random / 2);
}
