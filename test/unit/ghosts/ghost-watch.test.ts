import { describe, expect, test, vi } from 'vitest';
import { NotYetError } from '../../../src/errors.ts';
import type { Ghost } from '../../../src/ghosts/ghost.ts';
import { GhostWatch } from '../../../src/ghosts/ghost-watch.ts';
import { createMetrics } from '../../../src/metrics.ts';
import { ALLOCATION_ID } from '../../support/allocation-of.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { recordingLog } from '../../support/recording-log.ts';

const GRACE_MS = 300_000;

/** A watch over what the test says that there is. */
function setUp({ graceMs = GRACE_MS }: { graceMs?: number | undefined } = {}, ...given: unknown[]) {
  const clock = new ManualClock();
  const metrics = createMetrics('test');
  const log = recordingLog();
  const remove = vi.fn(async () => undefined);
  const ghost: Ghost = {
    ...{
      key: 'c',
      kind: 'container',
      allocationId: ALLOCATION_ID,
      user: 'alice',
      name: 't',
      state: 'running',
      why: 'so',
    },
    remove,
  };
  const look = vi.fn(async () => [ghost]);
  const options = { graceMs: given.length > 0 ? undefined : graceMs, clock, log, metrics };
  const watch = new GhostWatch({ what: 'test', look }, options);
  const pass = async (ms: number) => {
    clock.advance(ms);
    for (let turn = 0; turn < 50; turn++) await undefined;
  };
  const shown = async () =>
    (await metrics.ghosts.get()).values.find(({ labels }) => labels.kind === 'container')?.value;
  const removed = async () =>
    (await metrics.ghostsRemoved.get()).values.find(({ labels }) => labels.kind === 'container')?.value;
  return { clock, watch, look, remove, ghost, pass, shown, removed, log };
}

describe('a ghost', () => {
  test('is told of when it is seen, and removed when the grace is over, by a look of its own', async () => {
    const { watch, pass, remove, shown, removed, look } = setUp();
    watch.lookIn(1000);
    await pass(1000);
    expect(watch.ghosts()).toMatchObject([{ kind: 'container', name: 't', user: 'alice' }]);
    expect(await shown()).toBe(1);
    await pass(GRACE_MS - 1);
    expect(remove).not.toHaveBeenCalled();
    await pass(1);
    expect(remove).toHaveBeenCalledOnce();
    expect(look).toHaveBeenCalledTimes(2);
    expect(watch.ghosts()).toEqual([]);
    expect([await shown(), await removed()]).toEqual([0, 1]);
  });

  test('that a look did not show gets the whole grace again: Nomad said nothing, or something else', async () => {
    const { watch, pass, look, remove, ghost } = setUp();
    watch.lookIn(0);
    await pass(0);
    look.mockResolvedValueOnce([]);
    watch.lookIn(GRACE_MS / 2);
    await pass(GRACE_MS / 2);
    expect(watch.ghosts()).toEqual([]);
    look.mockResolvedValue([ghost]);
    watch.lookIn(0);
    await pass(0);
    await pass(GRACE_MS / 2);
    expect(remove).not.toHaveBeenCalled();
    await pass(GRACE_MS / 2);
    expect(remove).toHaveBeenCalledOnce();
  });

  test('is not removed by what was seen before where a look fails, and is asked for again', async () => {
    const { watch, pass, look, remove } = setUp();
    watch.lookIn(0);
    await pass(0);
    look.mockRejectedValueOnce(new NotYetError('podman_silent', 'no answer'));
    await pass(GRACE_MS);
    expect(remove).not.toHaveBeenCalled();
    expect(watch.ghosts()).toMatchObject([{ lastError: { code: 'podman_silent' } }]);
    await pass(60_000);
    expect(remove).toHaveBeenCalledOnce();
  });

  test('that cannot be removed says why, and is tried again', async () => {
    const { watch, pass, remove, removed } = setUp();
    remove.mockRejectedValueOnce(new NotYetError('podman_error', 'device busy'));
    watch.lookIn(0);
    await pass(0);
    await pass(GRACE_MS);
    expect(watch.ghosts()).toMatchObject([{ lastError: { message: 'device busy' } }]);
    await pass(60_000);
    expect(watch.ghosts()).toEqual([]);
    expect(await removed()).toBe(1);
  });

  test('is only told of where the grace is off', async () => {
    const { watch, pass, remove } = setUp({}, 'off');
    watch.lookIn(0);
    await pass(0);
    watch.lookIn(10 * GRACE_MS);
    await pass(10 * GRACE_MS);
    expect(remove).not.toHaveBeenCalled();
    expect(watch.ghosts()).toMatchObject([{ name: 't', removedAt: undefined }]);
  });
});

test('many wishes to look are one look, at the time of the first', async () => {
  const { watch, pass, look } = setUp();
  for (const ms of [10_000, 2000, 5000]) watch.lookIn(ms);
  await pass(2000);
  expect(look).toHaveBeenCalledOnce();
  await pass(10_000);
  expect(look).toHaveBeenCalledOnce();
});

test('one look ends before the next begins', async () => {
  const { watch, pass, look } = setUp();
  const { promise, resolve } = Promise.withResolvers<Ghost[]>();
  look.mockReturnValueOnce(promise);
  watch.lookIn(0);
  await pass(0);
  watch.lookIn(0);
  await pass(0);
  expect(look).toHaveBeenCalledOnce();
  resolve([]);
  await pass(0);
  expect(look).toHaveBeenCalledTimes(2);
});

test('a watch that was stopped in the middle of a look removes nothing', async () => {
  const { watch, pass, look, remove, ghost, shown } = setUp();
  watch.lookIn(0);
  await pass(0);
  const { promise, resolve } = Promise.withResolvers<Ghost[]>();
  look.mockReturnValueOnce(promise);
  await pass(GRACE_MS);
  watch.stop();
  resolve([ghost]);
  await pass(GRACE_MS);
  expect(remove).not.toHaveBeenCalled();
  expect(await shown()).toBe(0);
});
