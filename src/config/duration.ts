const MILLISECONDS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;
type Unit = keyof typeof MILLISECONDS;

const TERM = /(\d+(?:\.\d+)?)(ms|s|m|h)/g;
const DURATION = /^(?:\d+(?:\.\d+)?(?:ms|s|m|h))+$/;

/**
 * Reads a duration as Go's time.ParseDuration has it ("30s", "1h30m", "1.5h"), without signs and without units below
 * the millisecond.
 * @returns whole milliseconds, rounded; undefined where the text is no such duration
 */
export function parseDuration(text: string): number | undefined {
  if (!DURATION.test(text)) return undefined;
  const terms = [...text.matchAll(TERM)].map(([, count, unit]) => Number(count) * MILLISECONDS[unit as Unit]);
  const total = Math.round(terms.reduce((sum, term) => sum + term, 0));
  return Number.isSafeInteger(total) ? total : undefined;
}
