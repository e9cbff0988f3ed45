import { describe, expect, test } from 'vitest';
import { ReconcilerReadiness } from '../../../src/agent/reconciler-readiness.ts';
import { NotYetError, RefusedError } from '../../../src/errors.ts';
import type { Desired } from '../../../src/model/desired.ts';
import type { PolicyEntry } from '../../../src/model/policy.ts';
import type { Outcome } from '../../../src/reconcile/record.ts';
import { accessOf } from '../../support/access-of.ts';
import { allocationOf } from '../../support/allocation-of.ts';

const ID = '11111111-2222-3333-4444-555555555555';
const request = { allocationId: ID, task: 't', uid: 1001, joinsNetns: false, mounts: [], volumes: [] };
const alice = { name: 'alice', uid: 1001, tasks: ['t'] };

/** A reconciler whose passes end as told, one after another; then no further one comes. */
function readinessOf(
  outcomes: Outcome[],
  isSelinuxOn = false,
  policy?: readonly PolicyEntry[],
  decisions: Desired[] = [],
) {
  const asked: string[] = [];
  const next = (how: string) => (_: string, signal: AbortSignal) => {
    asked.push(how);
    const outcome = outcomes.shift();
    if (outcome) return Promise.resolve(outcome);
    return new Promise<Outcome>((_resolve, reject) =>
      signal.addEventListener('abort', () => reject(signal.reason), { once: true }),
    );
  };
  const whenIdle = async () => undefined;
  const enqueueStart = (id: string) => void asked.push(`start of ${id}`);
  const awaitNetns = (id: string) => void asked.push(`netns of ${id}`);
  const awaitMounts = (_: string, task: string, paths: readonly string[]) =>
    void asked.push(`mounts ${[task, ...paths].join(', ')}`);
  const reconciler = {
    passNow: next('pass'),
    nextOutcome: next('next'),
    enqueueStart,
    desired: async () => decisions.shift() ?? access(),
    whenIdle,
    awaitNetns,
    awaitMounts,
  };
  const options = { metaKey: 'podman_user', csiDir: '/data/client/csi', policy: () => policy, isSelinuxOn };
  return { asked, readiness: new ReconcilerReadiness(reconciler, options) };
}

const settled = (desired: Desired): Outcome => ({ kind: 'settled', desired, allocation: undefined });
const access = (): Desired => accessOf(ID, [alice]);
const failed = (error: NotYetError | RefusedError): Outcome => ({ kind: 'failed', error, retryable: error.retryable });
const never = new AbortController().signal;

describe('a create', () => {
  test('is ready after a pass of its own has settled the allocation', async () => {
    const { readiness, asked } = readinessOf([settled(access())]);
    await readiness.ready(request, never);
    expect(asked).toEqual(['mounts t', 'pass']);
  });

  test('waits while passes end in what may be better in a moment', async () => {
    const busy = failed(new NotYetError('podman_not_running', 'not yet'));
    const { readiness, asked } = readinessOf([busy, busy, settled(access())]);
    await readiness.ready(request, never);
    expect(asked).toEqual(['mounts t', 'pass', 'next', 'next']);
  });

  test('that is given up says what it was waiting for', async () => {
    const { readiness } = readinessOf([
      failed(new NotYetError('podman_not_running', 'the Podman of alice does not run')),
    ]);
    const controller = new AbortController();
    const ready = readiness.ready(request, controller.signal);
    setImmediate(() => controller.abort(new Error('timeout')));
    await expect(ready).rejects.toMatchObject({ code: 'podman_not_running', message: /Podman of alice does not run/ });
  });

  test('that joins the netns says that the network is finished, before its pass', async () => {
    const { readiness, asked } = readinessOf([settled(access())]);
    await readiness.ready({ ...request, joinsNetns: true, mounts: [], volumes: [] }, never);
    expect(asked).toEqual(['mounts t', `netns of ${ID}`, 'pass']);
  });

  test('that mounts more of the directory of its task says so before its pass', async () => {
    const { readiness, asked } = readinessOf([settled(access())]);
    await readiness.ready({ ...request, mounts: ['alloc', 't', 't/local', 't/conf/a'] }, never);
    expect(asked).toEqual(['mounts t, t/local, t/conf/a', 'pass']);
  });

  test('that mounts more than could be kept mounted is refused', async () => {
    const mounts = Array.from({ length: 101 }, (_, at) => `t/${at}`);
    const { readiness, asked } = readinessOf([settled(access())]);
    await expect(readiness.ready({ ...request, mounts }, never)).rejects.toMatchObject({ code: 'too_many_mounts' });
    expect(asked).toEqual([]);
  });

  test.each(['u', 'u/local/x', '.shared', 'private'])(
    'that mounts %s, of no task of its user, is refused',
    async (path) => {
      const { readiness } = readinessOf([settled(access())]);
      const ready = readiness.ready({ ...request, mounts: ['', 'alloc/data', 't/local', path] }, never);
      await expect(ready).rejects.toMatchObject({ code: 'foreign_task_dir', message: /mount what is in its own/ });
    },
  );

  test('that has Podman label what is Nomad`s for one container alone is refused where there are labels', async () => {
    const labelled = { ...request, privateLabel: 'mounts.0.source "/data/alloc/x"' };
    const ready = readinessOf([settled(access())], true).readiness.ready(labelled, never);
    await expect(ready).rejects.toMatchObject({ code: 'selinux_label', message: /mounts\.0\.source .*use z/ });
    await readinessOf([settled(access())]).readiness.ready(labelled, never);
  });

  const nothing = (why: 'gone' | 'finished' | 'unmanaged'): Desired => ({ kind: 'nothing', id: ID, why });
  const bob = { ...request, uid: 1002 };
  test.each([
    [
      'of an allocation without podman_user',
      request,
      nothing('unmanaged'),
      'no_podman_user',
      /add meta \{ podman_user/,
    ],
    ['of an allocation that Nomad does not know', request, nothing('gone'), 'allocation_gone', /not on this node/],
    ['of a finished allocation', request, nothing('finished'), 'allocation_finished', /has finished/],
    ['of a task that names no user', { ...request, task: 'u' }, access(), 'no_podman_user', /task u .*podman_user/],
    ["through another user's gate", bob, access(), 'wrong_socket', /set socket = "alice"/],
    [
      'that the reconciler refuses',
      request,
      { kind: 'refused', id: ID, code: 'root_user', reason: 'is root' } as const,
      'root_user',
      /is root/,
    ],
  ])('%s is refused', async (_, asked, desired, code, message) => {
    const { readiness } = readinessOf([settled(desired)]);
    await expect(readiness.ready(asked, never)).rejects.toMatchObject({ code, message, retryable: false });
  });

  test('may mount the volumes that its task mounts, and nothing else of the data dir', async () => {
    const claim = { name: 'data', type: 'host', source: 'files', readOnly: false };
    const volume = (more: object) => ({ uid: 1001, tasks: ['t'], claim: { ...claim, ...more }, path: '/data/hv/1' });
    const volumes = [
      volume({}),
      { ...volume({}), path: '/data/hv/2', tasks: ['u'] },
      volume({ type: 'csi', source: 'v' }),
    ];
    const create = (path: string) => {
      const { readiness } = readinessOf([settled(accessOf(ID, [alice], { volumes }))]);
      const mounted = { where: 'mounts.3.source', path, readOnly: false };
      return readiness.ready({ ...request, volumes: [mounted] }, never);
    };
    await create('/data/hv/1');
    await create(`/data/client/csi/node/plugin/per-alloc/${ID}/v/rw-file-system-single-node-writer`);
    for (const path of [
      '/data',
      '/data/hv',
      '/data/hv/1/x',
      '/data/hv/2',
      `/data/client/csi/node/plugin/per-alloc/${ID}`,
    ]) {
      const message = new RegExp(`^mounts.3.source "${path}" lies in Nomad's data dir, but .* task t mounts`);
      await expect(create(path)).rejects.toMatchObject({ code: 'data_dir_refused', message });
    }
  });

  test('must not have Podman change owners or labels of what is claimed read-only', async () => {
    const claim = { name: 'data', type: 'host', source: 'files', readOnly: true };
    const create = (more: object, isSelinuxOn = false, isShared = false) => {
      const volumes = [{ uid: 1001, tasks: ['t'], claim, path: '/data/hv/1', isShared }];
      const { readiness } = readinessOf([settled(accessOf(ID, [alice], { volumes }))], isSelinuxOn);
      const mounted = { where: 'm', path: '/data/hv/1', readOnly: true, ...more };
      return readiness.ready({ ...request, volumes: [mounted] }, never);
    };
    const code = 'volume_read_only';
    await expect(create({ ownersBy: 'U' })).rejects.toMatchObject({ code, message: /option U changes its owners/ });
    await expect(create({ labelsBy: 'z' }, true)).rejects.toMatchObject({
      code,
      message: /option z changes its labels/,
    });
    await create({ labelsBy: 'z' }, true, true);
    // The driver adds it to every volume where its configuration says so; without SELinux it means nothing.
    await create({ labelsBy: 'z' });
  });

  test('of a CSI plugin is refused, with what stands in the way', async () => {
    const create = (kind: string) => {
      const { readiness } = readinessOf([settled(access())]);
      const paths = [`/data/client/csi/plugins/${ID}`, `/data/client/csi/${kind}/nfs`];
      const volumes = paths.map((path, index) => ({ where: `mounts.${index + 3}.source`, path, readOnly: false }));
      return readiness.ready({ ...request, volumes }, never);
    };
    const code = 'csi_plugin';
    await expect(create('node')).rejects.toMatchObject({ code, message: /mounts filesystems on the host/ });
    await expect(create('monolith')).rejects.toMatchObject({ code, message: /mounts filesystems on the host/ });
    await expect(create('controller')).rejects.toMatchObject({ code, message: /opens the socket .* as root/ });
  });

  test('may name all paths of the host where an entry of the policy says so', async () => {
    const allocation = allocationOf({ id: ID, namespace: 'infra', jobId: 'node-exporter' });
    const entry = { namespace: 'infra', jobs: '*', users: new Set(['alice']) };
    const answer = (policy?: PolicyEntry[]) => {
      const outcome: Outcome = { kind: 'settled', desired: access(), allocation };
      return readinessOf([outcome], false, policy).readiness.ready(request, never);
    };
    expect(await answer()).toEqual({ mayNameAllPaths: false });
    expect(await answer([entry])).toEqual({ mayNameAllPaths: false });
    expect(await answer([entry, { ...entry, hostPaths: 'all' }])).toEqual({ mayNameAllPaths: true });
    expect(await answer([entry, { ...entry, namespace: 'x', hostPaths: 'all' }])).toEqual({ mayNameAllPaths: false });
    expect(await answer([entry, { ...entry, users: new Set(['bob']), hostPaths: 'all' }])).toEqual({
      mayNameAllPaths: false,
    });
  });

  test('must mount a volume read-only that is claimed read-only', async () => {
    const claim = { name: 'data', type: 'host', source: 'files', readOnly: true };
    const volumes = [{ uid: 1001, tasks: ['t'], claim, path: '/data/hv/1' }];
    const create = (readOnly: boolean) => {
      const { readiness } = readinessOf([settled(accessOf(ID, [alice], { volumes }))]);
      return readiness.ready({ ...request, volumes: [{ where: 'm', path: '/data/hv/1', readOnly }] }, never);
    };
    await create(true);
    await expect(create(false)).rejects.toMatchObject({ code: 'volume_read_only', message: /claims read_only/ });
  });

  test('is refused after a terminal error', async () => {
    const { readiness } = readinessOf([failed(new RefusedError('unsafe_path', 'a symlink'))]);
    await expect(readiness.ready(request, never)).rejects.toMatchObject({ code: 'unsafe_path', message: /a symlink/ });
  });

  test('is prepared for beforehand only by what is an allocation id', () => {
    const { readiness, asked } = readinessOf([]);
    readiness.prepare(ID);
    readiness.prepare('../../etc');
    expect(asked).toEqual([`start of ${ID}`]);
  });
});

describe('whether a task may run', () => {
  const start = { allocationId: ID, task: 't', uid: 1001 };

  test('is known without its allocation being ready', async () => {
    const { readiness, asked } = readinessOf([]);
    await readiness.permitted(start, never);
    expect(asked).toEqual([]);
  });

  test.each([
    ['refused', { kind: 'refused', id: ID, code: 'not_in_policy', reason: 'no' }, 'not_in_policy'],
    ['of no podman user', { kind: 'nothing', id: ID, why: 'unmanaged' }, 'no_podman_user'],
    ['over', { kind: 'nothing', id: ID, why: 'finished' }, 'allocation_finished'],
    ['of another user', accessOf(ID, [{ name: 'bob', uid: 1002, tasks: ['t'] }]), 'wrong_socket'],
  ] as const)('is denied to one that is %s', async (_, desired, code) => {
    await expect(readinessOf([], false, undefined, [desired]).readiness.permitted(start, never)).rejects.toMatchObject({
      code,
    });
  });

  test('is not said of one that Nomad does not know yet', async () => {
    const gone: Desired = { kind: 'nothing', id: ID, why: 'gone' };
    const { readiness, asked } = readinessOf([settled(gone), settled(access())], false, undefined, [
      gone,
      gone,
      access(),
    ]);
    await readiness.permitted(start, never);
    expect(asked).toEqual(['next', 'next']);
  });
});
