import { describe, expect, test } from 'vitest';
import type { Allocation, Task } from '../../../src/model/allocation.ts';
import { desire, type Rules } from '../../../src/model/desired.ts';
import { podmanUserOf, usersNamedIn } from '../../../src/model/podman-user.ts';
import type { KnownUser } from '../../../src/model/verdict.ts';
import { ALLOCATION_ID, allocationOf, metaOf, NODE_ID, taskOf } from '../../support/allocation-of.ts';

const NO_IDS = { code: 'no_subordinate_ids', reason: 'no range for dave' };
const ACCOUNTS: Record<string | number, KnownUser> = {
  alice: { name: 'alice', uid: 1001 },
  1001: { name: 'alice', uid: 1001 },
  bob: { name: 'bob', uid: 1002 },
  1002: { name: 'bob', uid: 1002 },
  1004: { name: 'dave', uid: 1004, idProblem: NO_IDS },
  carol: { name: 'carol', uid: 1003 },
  root: { name: 'root', uid: 0 },
  daemon: { name: 'daemon', uid: 2 },
  dave: { name: 'dave', uid: 1004, idProblem: NO_IDS },
};

function desired(what: Allocation, more: Partial<Rules> = {}) {
  const named = [...usersNamedIn(what, 'podman_user'), ...(more.granted?.values() ?? [])];
  return desire(what, {
    nodeId: NODE_ID,
    metaKey: 'podman_user',
    minUid: 1000,
    configured: new Set(['alice', 'bob', 'dave', 'daemon']),
    policy: undefined,
    isNetnsAwaited: false,
    isStarting: false,
    named: [],
    creating: new Set(),
    hostVolumes: new Map(),
    granted: new Map(),
    accounts: new Map(named.map((name) => [name, ACCOUNTS[name]])),
    ...more,
  });
}

const withUser = (value: string) => allocationOf({ tasks: [taskOf('t', { meta: metaOf(value) })] });

describe('an allocation', () => {
  test('of a configured user gets access for its podman tasks', () => {
    const tasks = [taskOf('t'), taskOf('u'), taskOf('logger', { driver: 'exec' })];
    expect(desired(allocationOf({ tasks }))).toEqual({
      kind: 'access',
      id: ALLOCATION_ID,
      podman: [{ name: 'alice', uid: 1001, tasks: ['t', 'u'] }],
      others: [],
      tasks: ['t', 'u', 'logger'],
      named: [],
      started: [],
      usesConnect: false,
      netns: undefined,
      volumes: [],
      notApplied: [],
    });
  });

  test('says of which podman tasks the containers have been started: not of one that is being created anew', () => {
    const tasks = [
      taskOf('t', { state: 'running' }),
      taskOf('u', { state: 'dead' }),
      taskOf('v', { state: 'pending' }),
      taskOf('w', { state: 'running' }),
      taskOf('x', { state: 'running', driver: 'exec' }),
    ];
    const creating = new Set(['w']);
    expect(desired(allocationOf({ tasks }), { creating })).toMatchObject({ started: ['t', 'u'] });
  });

  test('may name its user by uid', () => {
    expect(desired(withUser('1001'))).toMatchObject({ kind: 'access', podman: [{ name: 'alice', uid: 1001 }] });
  });

  test.each([
    ['ghost', 'unknown_user', /no such user/],
    ['root', 'root_user', /is root/],
    ['daemon', 'uid_below_min', /below min_uid 1000/],
    ['carol', 'user_not_configured', /carol has no gate .*configured: alice/],
    ['dave', 'no_subordinate_ids', /podman_user = "dave".*: no range for dave/],
    [' alice', 'bad_podman_user', /spaces around/],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: Nomad's interpolation is what is tested
    ['${attr.user}', 'bad_podman_user', /not interpolated/],
    ['../alice', 'bad_podman_user', /not a user name/],
    ['99999999999', 'bad_podman_user', /not a uid/],
  ])('whose user is %j is refused: %s', (user, code, reason) => {
    expect(desired(withUser(user))).toEqual({
      kind: 'refused',
      id: ALLOCATION_ID,
      code,
      reason: expect.stringMatching(reason),
    });
  });

  test('of another node desires nothing', () => {
    expect(desired(allocationOf({ nodeId: ALLOCATION_ID }))).toMatchObject({ kind: 'nothing', why: 'gone' });
  });

  test('without podman_user is not ours', () => {
    expect(desired(allocationOf({ tasks: [taskOf('t', { meta: { task: {}, group: {}, job: {} } })] }))).toMatchObject({
      why: 'unmanaged',
    });
    expect(desired(withUser(''))).toMatchObject({ why: 'unmanaged' });
    expect(desired(allocationOf({ tasks: [taskOf('t', { driver: 'raw_exec' })] }))).toMatchObject({ why: 'unmanaged' });
  });

  test('is finished when all its tasks are dead, and not while one is to come', () => {
    const ended = (state: Task['state']) =>
      desired(
        allocationOf({
          clientStatus: 'complete',
          tasks: [taskOf('t', { state: 'dead' }), taskOf('poststop', { state })],
        }),
      );
    expect(ended('dead')).toMatchObject({ why: 'finished' });
    expect(ended('pending')).toMatchObject({ kind: 'access' });
  });

  test('with several users is refused only where they would share a netns', () => {
    const tasks = [taskOf('t'), taskOf('u', { meta: metaOf('bob') })];
    expect(desired(allocationOf({ tasks }))).toMatchObject({ kind: 'access', podman: [{ uid: 1001 }, { uid: 1002 }] });
    expect(desired(allocationOf({ tasks, networkMode: 'host' }))).toMatchObject({ kind: 'access' });
    expect(desired(allocationOf({ tasks, networkMode: 'bridge' }))).toMatchObject({ code: 'several_users_one_netns' });
  });

  test.each([
    ['bridge', 'bridge'],
    ['none', 'none'],
    ['cni/mynet', 'cni/mynet'],
    ['CNI/MyNet', 'cni/mynet'],
    ['host', undefined],
    ['driver', undefined],
    ['', undefined],
  ])('with the network mode "%s" gets its netns where Nomad makes one', (networkMode, mode) => {
    const given = desired(allocationOf({ networkMode }));
    expect(given).toMatchObject({ netns: mode === undefined ? undefined : { mode, isAwaited: false, isJoined: true } });
  });

  test('knows whether a container is held that joins its netns', () => {
    expect(desired(allocationOf({ networkMode: 'bridge' }), { isNetnsAwaited: true })).toMatchObject({
      netns: { isAwaited: true },
    });
  });

  test('knows that a container will join its netns once the driver begins to start a task, unless one says itself what it joins', () => {
    const startingWith = (own: boolean) => {
      const tasks = [taskOf('t'), taskOf('u', { hasOwnNetwork: own })];
      return desired(allocationOf({ networkMode: 'bridge', tasks }), { isStarting: true });
    };
    expect(startingWith(false)).toMatchObject({ netns: { isAwaited: true, isJoined: true } });
    expect(startingWith(true)).toMatchObject({ netns: { isAwaited: false, isJoined: false } });
    expect(desired(allocationOf({ networkMode: 'host' }), { isStarting: true })).toMatchObject({ netns: undefined });
  });

  test('gives tasks of other drivers with a user their way in', () => {
    const tasks = [
      taskOf('t'),
      taskOf('x', { driver: 'raw_exec', user: 'bob' }),
      taskOf('y', { driver: 'exec', user: 'ghost' }),
    ];
    expect(desired(allocationOf({ tasks }))).toMatchObject({ others: [{ name: 'bob', uid: 1002, tasks: ['x'] }] });
  });
});

describe('an allocation whose task has been prepared for a user', () => {
  const granted = (uid: number) => ({ granted: new Map([['t', uid]]) });

  test('follows no change of the user, and says so', () => {
    const given = desired(withUser('bob'), granted(1001));
    expect(given).toMatchObject({ kind: 'access', podman: [{ name: 'alice', tasks: ['t'] }] });
    expect(given).toHaveProperty('notApplied', [
      `task t: the job now has podman_user = "bob", but the task was prepared for alice and keeps running as that user; run: nomad alloc stop ${ALLOCATION_ID}`,
    ]);
  });

  test.each(['', ' alice', 'ghost', 'root'])('keeps that user where the job now says %j', (value) => {
    const given = desired(withUser(value), granted(1001));
    expect(given).toMatchObject({
      podman: [{ uid: 1001 }],
      notApplied: [expect.stringContaining('keeps running as that user')],
    });
  });

  test('has nothing to say while the user is the same, however it is written', () => {
    expect(desired(withUser('1001'), granted(1001))).toMatchObject({ podman: [{ uid: 1001 }], notApplied: [] });
  });

  test('keeps no user who may no longer run it', () => {
    expect(desired(withUser('bob'), granted(1004))).toMatchObject({ podman: [{ uid: 1002 }], notApplied: [] });
    const policy = [{ namespace: '*', jobs: '*', users: new Set(['bob']) }];
    expect(desired(withUser('bob'), { policy, ...granted(1001) })).toMatchObject({ podman: [{ uid: 1002 }] });
  });

  test('is refused where the user is the same and may no longer run it', () => {
    const policy = [{ namespace: '*', jobs: '*', users: new Set(['bob']) }];
    expect(desired(withUser('alice'), { policy, ...granted(1001) })).toMatchObject({ code: 'not_in_policy' });
  });
});

describe('with a policy', () => {
  const policy = [
    { namespace: 'team-a*', jobs: 'web*', users: new Set(['alice']) },
    { namespace: '*', jobs: 'batch', users: new Set(['bob']) },
  ];
  const asUser = (user: string, fields: Partial<Allocation>) =>
    desired(allocationOf({ tasks: [taskOf('t', { meta: metaOf(user) })], ...fields }), { policy });

  test('a job that an entry allows gets its user', () => {
    expect(asUser('alice', { namespace: 'team-a', jobId: 'web' })).toMatchObject({ kind: 'access' });
    expect(asUser('1002', { namespace: 'x', jobId: 'batch' })).toMatchObject({ kind: 'access' });
  });

  test('a job that Nomad made of an allowed one gets its user, and one that is only named so does not', () => {
    const jobId = 'batch/dispatch-1795468500-ab12cd34';
    expect(asUser('bob', { jobId, parentJobId: 'batch' })).toMatchObject({ kind: 'access' });
    expect(asUser('bob', { jobId })).toMatchObject({ code: 'not_in_policy' });
  });

  test.each([
    ['alice', { namespace: 'team-b', jobId: 'web' }],
    ['alice', { namespace: 'team-a', jobId: 'other' }],
    ['bob', { namespace: 'team-a', jobId: 'web' }],
  ])('%s is refused to %j', (user, fields) => {
    expect(asUser(user, fields)).toEqual({
      kind: 'refused',
      id: ALLOCATION_ID,
      code: 'not_in_policy',
      reason: `task t: podman_user = "${user}": the policy of this node does not let job ${fields.jobId} of namespace ${fields.namespace} run as ${user}; ask the operator to allow it under policy in nomad-rootless's config`,
    });
  });

  test('that is empty nobody gets anything', () => {
    expect(desired(withUser('alice'), { policy: [] })).toMatchObject({ code: 'not_in_policy' });
  });
});

describe('a volume', () => {
  const claim = (name: string, type: string, source: string) => ({ name, type, source, readOnly: false });
  const volumes = [claim('data', 'host', 'files'), claim('disk', 'csi', 'vol-1'), claim('unused', 'host', 'other')];
  const hostVolumes = new Map([['files', '/data/host_volumes/1']]);

  test('is for the users whose tasks mount it', () => {
    const tasks = [
      taskOf('t', { volumes: ['data'] }),
      taskOf('u', { meta: metaOf('bob'), volumes: ['disk', 'data'] }),
      taskOf('x', { driver: 'exec', volumes: ['unused'] }),
    ];
    expect(desired(allocationOf({ tasks, volumes }), { hostVolumes })).toMatchObject({
      volumes: [
        { uid: 1001, tasks: ['t'], claim: { name: 'data' }, path: '/data/host_volumes/1' },
        { uid: 1002, tasks: ['u'], claim: { name: 'data' }, path: '/data/host_volumes/1' },
        { uid: 1002, tasks: ['u'], claim: { name: 'disk' }, path: undefined },
      ],
    });
  });

  test('whose name the task has interpolated may be any of the group', () => {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: Nomad's interpolation is what is tested
    const tasks = [taskOf('t', { volumes: ['${env.VOLUME}'] })];
    const given = desired(allocationOf({ tasks, volumes }), { hostVolumes });
    expect(given).toMatchObject({ volumes: [{ claim: { name: 'data' } }, { claim: { name: 'disk' } }, {}] });
  });
});

describe('the podman user of a task', () => {
  test('is none where the key is missing or empty', () => {
    expect(podmanUserOf(taskOf('t', { meta: { task: {}, group: {}, job: {} } }), 'podman_user')).toBeUndefined();
    expect(podmanUserOf(taskOf('t', { meta: metaOf('') }), 'podman_user')).toBeUndefined();
  });

  test('is read from the key that is configured', () => {
    expect(podmanUserOf(taskOf('t', { meta: { task: {}, group: { run_as: 'bob' }, job: {} } }), 'run_as')).toEqual({
      level: 'group',
      value: 'bob',
      user: 'bob',
    });
  });
});
