import { describe, expect, test } from 'vitest';
import type { Allocation, Task } from '../../../src/model/allocation.ts';
import { desire, type KnownUser, type Rules } from '../../../src/model/desired.ts';
import { podmanUserOf, usersNamedIn } from '../../../src/model/podman-user.ts';

const NODE = 'aaaaaaaa-0000-0000-0000-000000000000';
const ID = '11111111-2222-3333-4444-555555555555';

function task(name: string, fields: Partial<Task> = {}): Task {
  return { name, driver: 'podman', user: '', meta: { podman_user: 'alice' }, state: 'pending', ...fields };
}

function allocation(fields: Partial<Allocation> = {}): Allocation {
  return {
    id: ID,
    namespace: 'default',
    jobId: 'web',
    taskGroup: 'g',
    nodeId: NODE,
    desiredStatus: 'run',
    clientStatus: 'pending',
    modifyIndex: 1,
    networkMode: undefined,
    tasks: [task('t')],
    ...fields,
  };
}

const ACCOUNTS: Record<string | number, KnownUser> = {
  alice: { name: 'alice', uid: 1001, hasSubordinateIds: true },
  1001: { name: 'alice', uid: 1001, hasSubordinateIds: true },
  bob: { name: 'bob', uid: 1002, hasSubordinateIds: true },
  carol: { name: 'carol', uid: 1003, hasSubordinateIds: true },
  root: { name: 'root', uid: 0, hasSubordinateIds: true },
  daemon: { name: 'daemon', uid: 2, hasSubordinateIds: true },
  dave: { name: 'dave', uid: 1004, hasSubordinateIds: false },
};

function desired(what: Allocation | undefined, isNetnsAwaited = false) {
  const named = what ? usersNamedIn(what, 'podman_user') : [];
  const rules: Rules = {
    nodeId: NODE,
    metaKey: 'podman_user',
    minUid: 1000,
    configured: new Set(['alice', 'bob', 'dave', 'daemon']),
    isNetnsAwaited,
    accounts: new Map(named.map((name) => [name, ACCOUNTS[name]])),
  };
  return desire(ID, what, rules);
}

const withUser = (value: string) => allocation({ tasks: [task('t', { meta: { podman_user: value } })] });

describe('an allocation', () => {
  test('of a configured user gets access for its podman tasks', () => {
    const tasks = [task('t'), task('u'), task('logger', { driver: 'exec' })];
    expect(desired(allocation({ tasks }))).toEqual({
      kind: 'access',
      id: ID,
      podman: [{ name: 'alice', uid: 1001, tasks: ['t', 'u'] }],
      others: [],
      tasks: ['t', 'u', 'logger'],
      netns: undefined,
    });
  });

  test('may name its user by uid', () => {
    expect(desired(withUser('1001'))).toMatchObject({ kind: 'access', podman: [{ name: 'alice', uid: 1001 }] });
  });

  test.each([
    ['ghost', 'unknown_user', /no such user/],
    ['root', 'root_user', /is root/],
    ['daemon', 'uid_below_min', /below min_uid 1000/],
    ['carol', 'user_not_configured', /carol has no gate .*configured: alice/],
    ['dave', 'no_subordinate_ids', /usermod --add-subuids/],
    [' alice', 'bad_podman_user', /spaces around/],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: Nomad's interpolation is what is tested
    ['${attr.user}', 'bad_podman_user', /not interpolated/],
    ['../alice', 'bad_podman_user', /no user name/],
    ['99999999999', 'bad_podman_user', /no uid/],
  ])('whose user is %j is refused: %s', (user, code, reason) => {
    expect(desired(withUser(user))).toEqual({ kind: 'refused', id: ID, code, reason: expect.stringMatching(reason) });
  });

  test('desires nothing when Nomad knows none, or it is of another node', () => {
    expect(desired(undefined)).toMatchObject({ kind: 'nothing', why: 'gone' });
    expect(desired(allocation({ nodeId: ID }))).toMatchObject({ kind: 'nothing', why: 'gone' });
  });

  test('without podman_user is not ours', () => {
    expect(desired(allocation({ tasks: [task('t', { meta: {} })] }))).toMatchObject({ why: 'unmanaged' });
    expect(desired(withUser(''))).toMatchObject({ why: 'unmanaged' });
    expect(desired(allocation({ tasks: [task('t', { driver: 'raw_exec' })] }))).toMatchObject({ why: 'unmanaged' });
  });

  test('is finished when all its tasks are dead, and not while one is to come', () => {
    const ended = (state: Task['state']) =>
      desired(
        allocation({ clientStatus: 'complete', tasks: [task('t', { state: 'dead' }), task('poststop', { state })] }),
      );
    expect(ended('dead')).toMatchObject({ why: 'finished' });
    expect(ended('pending')).toMatchObject({ kind: 'access' });
    expect(desired(allocation({ desiredStatus: 'stop', clientStatus: 'running' }))).toMatchObject({ kind: 'access' });
  });

  test('with several users is refused only where they would share a netns', () => {
    const tasks = [task('t'), task('u', { meta: { podman_user: 'bob' } })];
    expect(desired(allocation({ tasks }))).toMatchObject({ kind: 'access', podman: [{ uid: 1001 }, { uid: 1002 }] });
    expect(desired(allocation({ tasks, networkMode: 'host' }))).toMatchObject({ kind: 'access' });
    expect(desired(allocation({ tasks, networkMode: 'bridge' }))).toMatchObject({ code: 'several_users_one_netns' });
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
    const given = desired(allocation({ networkMode }));
    expect(given).toMatchObject({ netns: mode === undefined ? undefined : { mode, isAwaited: false } });
  });

  test('knows whether a container is held that joins its netns', () => {
    expect(desired(allocation({ networkMode: 'bridge' }), true)).toMatchObject({ netns: { isAwaited: true } });
  });

  test('gives tasks of other drivers with a user their way in', () => {
    const tasks = [
      task('t'),
      task('x', { driver: 'raw_exec', user: 'bob' }),
      task('y', { driver: 'exec', user: 'ghost' }),
    ];
    expect(desired(allocation({ tasks }))).toMatchObject({ others: [{ name: 'bob', uid: 1002, tasks: ['x'] }] });
  });
});

describe('the podman user of a task', () => {
  test('is none where the key is missing or empty', () => {
    expect(podmanUserOf(task('t', { meta: {} }), 'podman_user')).toBeUndefined();
    expect(podmanUserOf(task('t', { meta: { podman_user: '' } }), 'podman_user')).toBeUndefined();
  });

  test('is read from the key that is configured', () => {
    expect(podmanUserOf(task('t', { meta: { run_as: 'bob' } }), 'run_as')).toEqual({ user: 'bob' });
  });
});
