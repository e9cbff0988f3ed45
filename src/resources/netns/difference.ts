/** What is to be and is not, and what is and is not to be. */
export interface Difference<T> {
  readonly missing: readonly T[];
  readonly extra: readonly T[];
}

/** @param keyOfOne a text that is the same for two that are the same */
export function differenceOf<T>(
  wanted: readonly T[],
  current: readonly T[],
  keyOfOne: (one: T) => string,
): Difference<T> {
  const has = new Set(current.map(keyOfOne));
  const wants = new Set(wanted.map(keyOfOne));
  return {
    missing: wanted.filter((one) => !has.has(keyOfOne(one))),
    extra: current.filter((one) => !wants.has(keyOfOne(one))),
  };
}
