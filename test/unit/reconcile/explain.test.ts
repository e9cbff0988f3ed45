import { expect, test } from 'vitest';
import { NotYetError, RefusedError } from '../../../src/errors.ts';
import type { Allocation } from '../../../src/model/allocation.ts';
import type { Desired, Rules } from '../../../src/model/desired.ts';
import type { PolicyEntry } from '../../../src/model/policy.ts';
import { needsOf } from '../../../src/model/user-needs.ts';
import { explain } from '../../../src/reconcile/explain.ts';
import { newRecord } from '../../../src/reconcile/record.ts';
import type { Resource, UserResource } from '../../../src/resources/resource.ts';
import { ALLOCATION_ID, allocationOf, metaOf, NODE_ID, taskOf } from '../../support/allocation-of.ts';

const ALICE = { name: 'alice', uid: 1001 };
const POLICY: PolicyEntry[] = [
  { namespace: 'team-*', jobs: '*', users: new Set(['alice']) },
  { namespace: 'default', jobs: 'web*', users: new Set(['alice', 'bob']) },
];

const never = () => {
  throw new Error('applied');
};

/** A resource with these steps to do, or with an error in place of a plan. */
function resourceOf(kind: Resource['kind'], steps: { what: string; removes?: boolean }[] | Error): Resource {
  return {
    kind,
    plan: async () => {
      if (steps instanceof Error) throw steps;
      return steps.map(({ what, removes = false }) => ({ kind, what, removes, apply: never }));
    },
  };
}

function explainOf(
  allocation: Allocation,
  {
    rules,
    resources = [],
    userResources = [],
    isOwned = false,
  }: { rules?: Partial<Rules>; resources?: Resource[]; userResources?: UserResource[]; isOwned?: boolean } = {},
) {
  const all: Rules = {
    nodeId: NODE_ID,
    metaKey: 'podman_user',
    minUid: 1000,
    configured: new Set(['alice']),
    policy: undefined,
    isNetnsAwaited: false,
    isStarting: false,
    named: [],
    creating: new Set(),
    accounts: new Map([['alice', ALICE]]),
    granted: new Map(),
    hostVolumes: new Map([['data', '/data']]),
    ...rules,
  };
  const observed = {
    resources,
    userResources,
    needsOf: (uid: number, desired: Desired) => needsOf(uid, [desired], true),
    isNetnsOwned: () => isOwned,
  };
  return explain(newRecord(ALLOCATION_ID, 0), allocation, all, observed);
}

test('names the meta that decides first, and what it overrides', async () => {
  const meta = { task: {}, group: { podman_user: 'alice' }, job: { podman_user: 'bob' } };
  const { tasks, verdict } = await explainOf(allocationOf({ tasks: [taskOf('t', { meta })] }));
  expect(verdict).toBe('access');
  expect(tasks[0]?.meta).toEqual([
    { level: 'group', value: 'alice' },
    { level: 'job', value: 'bob' },
  ]);
  expect(tasks[0]).toMatchObject({ user: { name: 'alice', uid: 1001 }, policy: undefined, refusal: undefined });
});

test('names the entry of the policy that allows, counted from 1', async () => {
  const { tasks } = await explainOf(allocationOf(), { rules: { policy: POLICY } });
  expect(tasks[0]?.policy).toEqual({ entry: { place: 2, namespace: 'default', jobs: 'web*' } });
});

test('says that no entry of the policy allows', async () => {
  const allocation = allocationOf({ jobId: 'db' });
  const { tasks, verdict, refusal } = await explainOf(allocation, { rules: { policy: POLICY } });
  expect(tasks[0]?.policy).toEqual({ entry: undefined });
  expect(tasks[0]?.refusal).toMatchObject({ code: 'not_in_policy' });
  expect({ verdict, refusal }).toMatchObject({ verdict: 'refused', refusal: { code: 'not_in_policy' } });
});

test('says of an allocation without a user, and of one that has finished, that nothing is for it', async () => {
  const bare = { task: { podman_user: '' }, group: {}, job: { podman_user: 'alice' } };
  const unmanaged = await explainOf(allocationOf({ tasks: [taskOf('t', { meta: bare })] }));
  expect(unmanaged).toMatchObject({ verdict: 'unmanaged', tasks: [{ meta: [{ value: '' }, { value: 'alice' }] }] });
  expect(unmanaged.tasks[0]?.user).toBeUndefined();
  const tasks = [taskOf('t', { state: 'dead' })];
  const finished = allocationOf({ clientStatus: 'complete', tasks });
  expect(await explainOf(finished)).toMatchObject({ verdict: 'finished', parts: [] });
});

test('tells tasks of other drivers, and who runs them', async () => {
  const raw = taskOf('raw', { driver: 'raw_exec', user: 'nobody' });
  const { tasks } = await explainOf(allocationOf({ tasks: [taskOf('t'), raw] }));
  expect(tasks[1]).toEqual({ name: 'raw', driver: 'raw_exec', otherUser: 'nobody', meta: [], volumes: [] });
});

test('shows which volumes a task mounts, and where they are', async () => {
  const claim = { name: 'v', type: 'host', source: 'data', readOnly: true };
  const tasks = [taskOf('t', { volumes: ['v'] }), taskOf('u')];
  const explanation = await explainOf(allocationOf({ volumes: [claim], tasks }));
  expect(explanation.tasks.map(({ volumes }) => volumes)).toEqual([[{ ...claim, path: '/data' }], []]);
});

test('plans and applies nothing: what is done, is missing, is left over, waits, is refused or broken', async () => {
  const resources = [
    resourceOf('acl', []),
    resourceOf('view', [{ what: 'mount it' }]),
    resourceOf('log_fifo', new NotYetError('x', 'not there yet')),
    resourceOf('netns', [{ what: 'take it away', removes: true }]),
  ];
  const volumes = [{ name: 'v', type: 'host', source: 'data', readOnly: true }];
  const shared: UserResource = {
    kind: 'volume',
    uids: never,
    neededBy: ({ volumes: claimed }) => claimed.map(({ uid }) => uid),
    plan: (id, { uid, volumes }) => {
      throw new RefusedError('y', `${volumes.length} of ${uid} for ${id}: not so`);
    },
    planRemoval: never,
  };
  const allocation = allocationOf({ volumes, tasks: [taskOf('t', { volumes: ['v'] })] });
  const { parts } = await explainOf(allocation, { resources, userResources: [shared] });
  expect(parts).toEqual([
    { kind: 'acl', state: 'done', what: [] },
    { kind: 'view', state: 'missing', what: ['mount it'] },
    { kind: 'volume', state: 'refused', what: [`1 of 1001 for ${ALLOCATION_ID}: not so`] },
    { kind: 'log_fifo', state: 'waiting', what: ['not there yet'] },
    { kind: 'netns', state: 'left', what: ['take it away'] },
  ]);
});

test('shows several resources of one kind as one, by the worst of them', async () => {
  const resources = [resourceOf('volume', []), resourceOf('volume', new Error('broken')), resourceOf('volume', [])];
  const { parts } = await explainOf(allocationOf(), { resources });
  expect(parts).toEqual([{ kind: 'volume', state: 'failed', what: ['broken'] }]);
});

test('says what people should know of what is done', async () => {
  const resources = [{ ...resourceOf('view', []), notes: () => ['with plain ids'] }];
  expect((await explainOf(allocationOf(), { resources })).parts).toEqual([
    { kind: 'view', state: 'done', what: ['with plain ids'] },
  ]);
});

test('leaves out what the allocation does not need', async () => {
  const resources = [resourceOf('netns', []), resourceOf('volume', [])];
  expect((await explainOf(allocationOf(), { resources })).parts).toEqual([]);
});

test('shows a network that was not handed over yet as waiting, not as done', async () => {
  const allocation = allocationOf({ networkMode: 'bridge' });
  const resources = [resourceOf('netns', [])];
  expect((await explainOf(allocation, { resources })).parts).toMatchObject([{ kind: 'netns', state: 'waiting' }]);
  expect((await explainOf(allocation, { resources, isOwned: true })).parts).toMatchObject([{ state: 'done' }]);
});

test('says what is not followed, and whom the task runs as still', async () => {
  const bob = { name: 'bob', uid: 1002 };
  const rules = {
    configured: new Set(['alice', 'bob']),
    accounts: new Map<string | number, typeof ALICE>([
      ['alice', ALICE],
      [1002, bob],
    ]),
    granted: new Map([['t', 1002]]),
  };
  const { notApplied, tasks } = await explainOf(allocationOf({ tasks: [taskOf('t', { meta: metaOf('alice') })] }), {
    rules,
  });
  expect(notApplied).toEqual([expect.stringContaining('was prepared for bob and keeps running as that user')]);
  expect(tasks[0]).toMatchObject({ user: { name: 'alice' }, runsAs: { name: 'bob', uid: 1002 } });
});
