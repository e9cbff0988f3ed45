import { expect, test } from 'vitest';
import { requires } from '../support/requires.ts';
import { type SoakReport, soak } from '../support/soak/soak.ts';
import { SURROUNDINGS, type Surroundings } from '../support/soak/surroundings.ts';

/** `npm run test:soak` gives them more; of these a quarter goes to the run in which nothing goes wrong. */
const SECONDS = Number(process.env.SOAK_SECONDS ?? '40');
const SEED = Number(process.env.SOAK_SEED ?? String(Date.now() % 1_000_000));
/** An agent that leaks one with each allocation is over this soon. */
const MORE_DESCRIPTORS = 12;
const MORE_RSS_MIB = 40;

const isShort = process.env.SOAK_SECONDS === undefined;
const all = Object.entries(SURROUNDINGS).slice(0, isShort ? 1 : undefined);

requires(
  'root',
  'sandbox',
  'podman',
  'cni',
)(`allocations that come and go while anything is killed (SOAK_SEED=${SEED})`, () => {
  for (const [index, [name, surroundings]] of all.entries()) {
    const reason = surroundings.missing();
    const title = `leave nothing more on ${name} than those to which nothing happens`;
    if (reason !== undefined && !isShort) test.skip(`${title} [skipped: ${reason}]`);
    else test(title, { timeout: 600_000 + 2000 * SECONDS }, () => compare(name, surroundings, SEED + index));
  }

  async function compare(name: string, surroundings: Surroundings, seed: number): Promise<void> {
    const seconds = SECONDS / all.length;
    const options = { seed, surroundings };
    const calm = await soak({ ...options, seconds: seconds / 4, isTroubled: false });
    console.log(figureOf(`${name}, calm`, calm));
    expect(calm.failures).toEqual({});
    if (surroundings.warning) expect(calm.warnings).toContainEqual(expect.stringMatching(surroundings.warning));
    const troubled = await soak({ ...options, seconds: (seconds * 3) / 4, isTroubled: true, expected: calm.census });
    console.log(figureOf(`${name}, troubled`, troubled));
    expect(troubled.census.things).toEqual(calm.census.things);
    expect(troubled.census.descriptors).toBeLessThan(calm.census.descriptors + MORE_DESCRIPTORS);
    expect(troubled.census.rssMib).toBeLessThan(calm.census.rssMib + MORE_RSS_MIB);
  }
});

function figureOf(what: string, { allocations, failures, troubles, census }: SoakReport): string {
  const { descriptors, rssMib } = census;
  return `${what}: ${allocations} allocations, ${sum(troubles)} troubles ${JSON.stringify(troubles)}, failures ${JSON.stringify(failures)}, ${descriptors} descriptors, ${Math.round(rssMib)} MiB`;
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}
