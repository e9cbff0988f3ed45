import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { LongestFirst } from './test/support/longest-first.ts';
import { SANDBOX_POOL } from './test/support/sandbox-pool.ts';
import { TIME_SCALE } from './test/support/time-scale.ts';

/** Each file makes users and mounts in a sandbox of its own, beside the others. */
const sandboxed = { pool: SANDBOX_POOL };
/** These have the machine, or what looks like it, for themselves: one file at a time. */
const inTurn = { fileParallelism: false };
/** A machine boots, and more than once. */
const booted = { ...inTurn, testTimeout: 180_000 * TIME_SCALE, hookTimeout: 180_000 * TIME_SCALE };
const nomad = 'test/e2e/**/*.nomad.test.ts';

export default defineConfig({
  test: {
    // setns works only on a process's main thread, so no worker threads.
    pool: 'forks',
    // What is to be measured is measured by the bench: a busy machine fails no test.
    testTimeout: 60_000 * TIME_SCALE,
    hookTimeout: 60_000 * TIME_SCALE,
    cache: false,
    // More would wait less, and find time limits of the program itself in their way.
    maxWorkers: availableParallelism(),
    sequence: { sequencer: LongestFirst },
    projects: [
      { extends: true, test: { name: 'unit', include: ['test/unit/**/*.test.ts'] } },
      { extends: true, test: { name: 'integration', include: ['test/integration/**/*.test.ts'] } },
      { extends: true, test: { name: 'kernel', include: ['test/kernel/**/*.test.ts'], ...sandboxed } },
      { extends: true, test: { name: 'e2e', include: ['test/e2e/**/*.test.ts'], exclude: [nomad], ...sandboxed } },
      { extends: true, test: { name: 'soak', include: ['test/soak/**/*.test.ts'], ...sandboxed } },
      { extends: true, test: { name: 'nomad', include: [nomad], sequence: { groupOrder: 1 }, ...inTurn } },
      {
        extends: true,
        test: { name: 'packages', include: ['test/packages/**/*.test.ts'], sequence: { groupOrder: 3 }, ...booted },
      },
      {
        extends: true,
        test: { name: 'systemd', include: ['test/systemd/**/*.test.ts'], sequence: { groupOrder: 2 }, ...booted },
      },
    ],
  },
});
