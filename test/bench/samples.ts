/** Durations of one kind of call, milliseconds. */
export interface Summary {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
}

/** Two kinds of call that were measured in turn, so that both saw the same noise of the machine. */
export interface Comparison {
  /** On the socket of the user's Podman. */
  readonly direct: Summary;
  /** Through the user's gate. */
  readonly gate: Summary;
}

/** Sums durations up. @throws Error where there are none */
export function summarize(durations: readonly number[]): Summary {
  const sorted = [...durations].sort((a, b) => a - b);
  return { count: sorted.length, p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99) };
}

/** The smallest value that at least this part of all values do not exceed (nearest rank). */
function percentile(sorted: readonly number[], part: number): number {
  const value = sorted[Math.max(0, Math.ceil(sorted.length * part) - 1)];
  if (value === undefined) throw new Error('no samples');
  return value;
}

/** Measures both ways in turn; which one goes first alternates. The first tenth of the rounds warms up and is not counted. */
export async function compare(
  rounds: number,
  direct: (round: number) => Promise<number>,
  gate: (round: number) => Promise<number>,
): Promise<Comparison> {
  const durations = { direct: [] as number[], gate: [] as number[] };
  for (let round = 0; round < rounds; round++) {
    const measured =
      round % 2 === 0
        ? { direct: await direct(round), gate: await gate(round) }
        : { gate: await gate(round), direct: await direct(round) };
    if (round < rounds / 10) continue;
    durations.direct.push(measured.direct);
    durations.gate.push(measured.gate);
  }
  return { direct: summarize(durations.direct), gate: summarize(durations.gate) };
}
