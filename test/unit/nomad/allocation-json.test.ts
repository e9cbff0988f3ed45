import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ParseError } from '../../../src/errors.ts';
import { parseAllocation } from '../../../src/nomad/allocation-json.ts';
import { fixture, jsonFixture, NODE_ID, WEB_ID } from './fixture.ts';

type Meta = Record<string, string> | null | undefined;

function allocationWith(metas: { job: Meta; group: Meta; task: Meta }): object {
  const tasks = [{ Name: 't', Driver: 'podman', User: '', Meta: metas.task }];
  const other = { Name: 'other', Meta: { podman_user: 'mallory' }, Tasks: [] };
  return {
    ...jsonFixture('allocation-web.json'),
    Job: { Meta: metas.job, TaskGroups: [other, { Name: 'g', Meta: metas.group, Tasks: tasks }] },
  };
}

function metaOf(metas: { job?: Meta; group?: Meta; task?: Meta }) {
  const all = { job: undefined, group: undefined, task: undefined, ...metas };
  return parseAllocation(allocationWith(all)).tasks[0]?.meta;
}

describe('an allocation from the API', () => {
  test('is read with what decides about access', () => {
    expect(parseAllocation(jsonFixture('allocation-web.json'))).toEqual({
      id: WEB_ID,
      namespace: 'default',
      jobId: 'web',
      taskGroup: 'g',
      nodeId: NODE_ID,
      desiredStatus: 'run',
      clientStatus: 'running',
      modifyIndex: 124,
      networkMode: undefined,
      tasks: [{ name: 't', driver: 'podman', user: '', meta: { podman_user: 'alice' }, state: 'running' }],
    });
  });

  test("has the mode of the group's first network", () => {
    expect(parseAllocation(jsonFixture('allocation-api.json')).networkMode).toBe('bridge');
  });

  test('has the user of each task by the innermost meta that names one, and its state', () => {
    const { tasks } = parseAllocation(jsonFixture('allocation-lifecycle-tasks.json'));
    expect(tasks.map(({ name, driver, meta, state }) => [name, driver, meta['podman_user'], state])).toEqual([
      ['init', 'raw_exec', 'bob', 'dead'],
      ['main', 'podman', 'alice', 'running'],
      ['side', 'podman', 'bob', 'pending'],
      ['after', 'podman', 'bob', 'pending'],
    ]);
  });

  test('has no task state while the client has reported none', () => {
    const json = { ...jsonFixture('allocation-web.json'), TaskStates: null };
    expect(parseAllocation(json).tasks.map(({ state }) => state)).toEqual([undefined]);
  });

  test('is read from every entry of a recorded listing', () => {
    const listing: unknown[] = JSON.parse(fixture('node-allocations.json'));
    expect(listing.map((json) => parseAllocation(json).nodeId)).toEqual(listing.map(() => NODE_ID));
  });
});

describe('merging meta', () => {
  test('takes the job where group and task have none, as null or not at all', () => {
    expect(metaOf({ job: { podman_user: 'alice' }, group: null })).toEqual({ podman_user: 'alice' });
  });

  test('lets an empty text of the task win over the group', () => {
    expect(metaOf({ group: { podman_user: 'bob' }, task: { podman_user: '' } })).toEqual({ podman_user: '' });
  });

  test('takes each key from the innermost level that has it, whatever the keys are', () => {
    const keys = fc.constantFrom('podman_user', 'a', 'b', 'constructor');
    const meta = fc.dictionary(keys, fc.string(), { noNullPrototype: true });
    fc.assert(
      fc.property(meta, meta, meta, (job, group, task) => {
        const merged = new Map(Object.entries(metaOf({ job, group, task }) ?? {}));
        const levels = [task, group, job].map((level) => new Map(Object.entries(level)));
        for (const key of ['podman_user', 'a', 'b', 'constructor']) {
          expect(merged.get(key)).toBe(levels.find((level) => level.has(key))?.get(key));
        }
      }),
    );
  });
});

describe('an allocation that cannot be read', () => {
  test.each([
    ['has no job', { Job: null }, `allocation ${WEB_ID}.Job: expected object, got null`],
    [
      'has a job without its group',
      { TaskGroup: 'x' },
      `allocation ${WEB_ID}.Job.TaskGroups: expected the group "x", got only g`,
    ],
    ['has an unknown status', { ClientStatus: 'asleep' }, 'or "unknown", got "asleep"'],
    [
      'has an upper-case id',
      { ID: WEB_ID.toUpperCase() },
      'allocation of unknown id.ID: expected a lower-case UUID, got "B519',
    ],
    ['has a path for an id', { ID: '../../etc' }, '.ID: expected a lower-case UUID, got "../../etc"'],
    ['is on no node', { NodeID: '' }, `allocation ${WEB_ID}.NodeID: expected a lower-case UUID, got ""`],
    ['has no index', { ModifyIndex: undefined }, `allocation ${WEB_ID}.ModifyIndex: expected number, got nothing`],
  ])('is an error that says so when it %s', (_, change, message) => {
    const read = () => parseAllocation({ ...jsonFixture('allocation-web.json'), ...change });
    expect(read).toThrow(ParseError);
    expect(read).toThrow(message);
  });

  test('is an error of ours whatever JSON it is', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (json) => {
        expect(() => parseAllocation(json)).toThrow(ParseError);
      }),
    );
  });
});
