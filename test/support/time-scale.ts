/**
 * How many times longer than on a machine of today everything may take: TEST_TIME_SCALE, 1 unless told. What waits has its
 * limit in milliseconds multiplied by it.
 */
export const TIME_SCALE = timeScale(process.env.TEST_TIME_SCALE ?? '1');

function timeScale(text: string): number {
  const scale = Number(text);
  if (!(scale >= 1 && scale <= 100)) throw new Error(`TEST_TIME_SCALE: expected 1 to 100, got ${text}`);
  return scale;
}
