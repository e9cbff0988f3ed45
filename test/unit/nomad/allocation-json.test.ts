import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ParseError } from '../../../src/errors.ts';
import { podmanUserOf } from '../../../src/model/podman-user.ts';
import { parseAllocation } from '../../../src/nomad/allocation-json.ts';
import { fixture, jsonFixture, NODE_ID, WEB_ID } from '../../support/nomad-fixture.ts';

type Meta = Record<string, string> | null | undefined;

function allocationWith(metas: { job: Meta; group: Meta; task: Meta }): object {
  const tasks = [{ Name: 't', Driver: 'podman', User: '', Meta: metas.task }];
  const other = { Name: 'other', Meta: { podman_user: 'mallory' }, Tasks: [] };
  return {
    ...jsonFixture('allocation-web.json'),
    Job: { Meta: metas.job, TaskGroups: [other, { Name: 'g', Meta: metas.group, Tasks: tasks }] },
  };
}

function userOf(metas: { job?: Meta; group?: Meta; task?: Meta }, metaKey = 'podman_user') {
  const all = { job: undefined, group: undefined, task: undefined, ...metas };
  const [task] = parseAllocation(allocationWith(all)).tasks;
  return task && podmanUserOf(task, metaKey);
}

describe('an allocation from the API', () => {
  test('is read with what decides about access', () => {
    expect(parseAllocation(jsonFixture('allocation-web.json'))).toEqual({
      id: WEB_ID,
      namespace: 'default',
      jobId: 'web',
      parentJobId: undefined,
      taskGroup: 'g',
      nodeId: NODE_ID,
      clientStatus: 'running',
      modifyIndex: 124,
      networkMode: undefined,
      volumes: [],
      usesConnect: false,
      keepsDisk: false,
      tasks: [
        {
          name: 't',
          driver: 'podman',
          user: '',
          meta: { task: {}, group: {}, job: { podman_user: 'alice' } },
          hasOwnNetwork: false,
          volumes: [],
          sharedVolumes: [],
          identityFiles: [],
          templates: [{ source: '', destination: 'secrets/tpl', isEnvironment: false }],
          dispatchPayload: '',
          artifacts: [],
          state: 'running',
        },
      ],
    });
  });

  test.each([
    [{ network_mode: 'host' }, true],
    [{ network_mode: 'task:proxy' }, true],
    [{ network_mode: '' }, false],
    [{ image: 'web' }, false],
    [null, false],
  ])('says of a task with config %j whether it joins a network of its own choice', (Config, expected) => {
    const tasks = [{ Name: 't', Driver: 'podman', Config }];
    const json = { ...jsonFixture('allocation-web.json'), Job: { TaskGroups: [{ Name: 'g', Tasks: tasks }] } };
    expect(parseAllocation(json).tasks).toMatchObject([{ hasOwnNetwork: expected }]);
  });

  test('has where Nomad writes for its tasks, and what it shares', () => {
    const task = {
      Name: 't',
      Driver: 'podman',
      Identity: { File: true, Filepath: '' },
      Identities: [
        { File: true, Filepath: 'local/a.jwt' },
        { File: false, Filepath: 'local/b.jwt' },
      ],
      Templates: [{ SourcePath: 'local/x.tpl', DestPath: 'local/env', Envvars: true }],
      DispatchPayload: { File: 'in' },
      Artifacts: [{ RelativeDest: 'local/a' }, {}],
      VolumeMounts: [{ Volume: 'v', SELinuxLabel: 'z' }, { Volume: 'w' }],
    };
    const group = { Name: 'g', EphemeralDisk: { Sticky: true }, Services: [{ Connect: { SidecarService: {} } }] };
    const Job = { TaskGroups: [{ ...group, Tasks: [task] }] };
    expect(parseAllocation({ ...jsonFixture('allocation-web.json'), Job })).toMatchObject({
      keepsDisk: true,
      usesConnect: true,
      tasks: [
        {
          volumes: ['v', 'w'],
          sharedVolumes: ['v'],
          identityFiles: ['local/a.jwt'],
          templates: [{ source: 'local/x.tpl', destination: 'local/env', isEnvironment: true }],
          dispatchPayload: 'in',
          artifacts: ['local/a', ''],
        },
      ],
    });
  });

  test("has the mode of the group's first network", () => {
    expect(parseAllocation(jsonFixture('allocation-api.json')).networkMode).toBe('bridge');
  });

  test('has the user of each task by the innermost meta that names one, and its state', () => {
    const { tasks } = parseAllocation(jsonFixture('allocation-lifecycle-tasks.json'));
    expect(tasks.map((task) => [task.name, task.driver, podmanUserOf(task, 'podman_user')?.value, task.state])).toEqual(
      [
        ['init', 'raw_exec', 'bob', 'dead'],
        ['main', 'podman', 'alice', 'running'],
        ['side', 'podman', 'bob', 'pending'],
        ['after', 'podman', 'bob', 'pending'],
      ],
    );
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

describe('the user of a task', () => {
  test("is the job's where group and task have none, as null or not at all", () => {
    expect(userOf({ job: { podman_user: 'alice' }, group: null })).toMatchObject({ level: 'job', user: 'alice' });
  });

  test('is none where the task has an empty text, whatever the group has', () => {
    expect(userOf({ group: { podman_user: 'bob' }, task: { podman_user: '' } })).toBeUndefined();
  });

  test('comes from the innermost level that has the key, whatever the key is', () => {
    const keys = fc.constantFrom('podman_user', 'a', 'constructor', 'toString');
    const meta = fc.dictionary(keys, fc.string(), { noNullPrototype: true });
    fc.assert(
      fc.property(meta, meta, meta, keys, (job, group, task, key) => {
        const levels = Object.entries({ task, group, job }).map(([level, one]) => ({
          level,
          value: new Map(Object.entries(one)).get(key),
        }));
        const decides = levels.find(({ value }) => value !== undefined);
        const found = userOf({ job, group, task }, key);
        expect(found && { level: found.level, value: found.value }).toEqual(decides?.value ? decides : undefined);
      }),
    );
  });
});

describe('the volumes of an allocation', () => {
  test('are those that its group claims, and each task names the ones that it mounts', () => {
    const { volumes, tasks } = parseAllocation(jsonFixture('allocation-host-volume.json'));
    expect(volumes).toEqual([{ name: 'files', type: 'host', source: 'files', readOnly: false }]);
    expect(tasks.map((task) => task.volumes)).toEqual([['files']]);
  });

  test('have the index of the allocation where each has its own', () => {
    const claim = { Type: 'csi', Source: 'disk', ReadOnly: true, PerAlloc: true };
    const group = { Name: 'g', Volumes: { data: claim }, Tasks: [] };
    const json = { ...jsonFixture('allocation-web.json'), Name: 'web.g[2]', Job: { TaskGroups: [group] } };
    expect(parseAllocation(json).volumes).toEqual([{ name: 'data', type: 'csi', source: 'disk[2]', readOnly: true }]);
  });
});

test('a job that Nomad made of another one knows which', () => {
  const json = jsonFixture('allocation-web.json');
  const parentOf = (ParentID: string) =>
    parseAllocation({ ...json, Job: { ...Object(json['Job']), ParentID } }).parentJobId;
  expect(parentOf('batch')).toBe('batch');
  expect(parentOf('')).toBeUndefined();
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
