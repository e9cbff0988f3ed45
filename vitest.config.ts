import { defineConfig } from 'vitest/config';
import { TIME_SCALE } from './test/support/time-scale.ts';

/** Kernel and e2e tests share the machine's users and mounts: one file at a time, after the quick ones. */
const inTurn = { fileParallelism: false, testTimeout: 60_000 * TIME_SCALE, hookTimeout: 60_000 * TIME_SCALE };
/** A machine boots, and more than once. */
const booted = { ...inTurn, testTimeout: 180_000 * TIME_SCALE, hookTimeout: 180_000 * TIME_SCALE };
const nomad = 'test/e2e/**/*.nomad.test.ts';

export default defineConfig({
  test: {
    // setns works only on a process's main thread, so no worker threads.
    pool: 'forks',
    // What is to be measured is measured by the bench: a busy machine fails no test.
    testTimeout: 30_000 * TIME_SCALE,
    cache: false,
    projects: [
      { extends: true, test: { name: 'unit', include: ['test/unit/**/*.test.ts'], sequence: { groupOrder: 0 } } },
      {
        extends: true,
        test: { name: 'integration', include: ['test/integration/**/*.test.ts'], sequence: { groupOrder: 0 } },
      },
      {
        extends: true,
        test: { name: 'kernel', include: ['test/kernel/**/*.test.ts'], sequence: { groupOrder: 1 }, ...inTurn },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          exclude: [nomad],
          sequence: { groupOrder: 2 },
          ...inTurn,
        },
      },
      {
        extends: true,
        test: { name: 'soak', include: ['test/soak/**/*.test.ts'], sequence: { groupOrder: 3 }, ...inTurn },
      },
      { extends: true, test: { name: 'nomad', include: [nomad], sequence: { groupOrder: 4 }, ...inTurn } },
      {
        extends: true,
        test: { name: 'packages', include: ['test/packages/**/*.test.ts'], sequence: { groupOrder: 6 }, ...booted },
      },
      {
        extends: true,
        test: { name: 'systemd', include: ['test/systemd/**/*.test.ts'], sequence: { groupOrder: 5 }, ...booted },
      },
    ],
  },
});
