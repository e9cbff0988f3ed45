import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Allocation, Task } from '../../../src/model/allocation.ts';
import {
  type Answer,
  containerNameOf,
  isMadeForTask,
  judgeAllocation,
  judgeContainer,
  judgeNetwork,
} from '../../../src/model/ghost.ts';
import { allocationOf, ALLOCATION_ID as ID, taskOf } from '../../support/allocation-of.ts';

const GONE: Answer = { kind: 'gone' };
const found = (clientStatus: Allocation['clientStatus'], ...states: Task['state'][]): Answer => {
  const tasks = states.map((state, index) => taskOf(`t${index}`, { state }));
  return { kind: 'found', allocation: allocationOf({ clientStatus, tasks }) };
};
const FAILED = found('failed', 'dead');
const RUNNING = { state: 'running' };

describe('a container is a ghost', () => {
  test.each([
    ['whose allocation has failed', RUNNING, FAILED, true],
    ['whose allocation is complete', RUNNING, found('complete', 'dead', 'dead'), true],
    ['whose allocation is lost, all its tasks dead', RUNNING, found('lost', 'dead'), true],
    [
      'whose allocation was lost before its client said anything, and has no directory',
      RUNNING,
      found('lost', undefined),
      false,
    ],
    ['that was created and never started', { state: 'created' }, FAILED, true],
    ['that has ended', { state: 'exited' }, FAILED, true],
    ['whose removal was begun and broke off', { state: 'removing' }, FAILED, true],
    ['of which Nomad says that there is no such allocation', RUNNING, GONE, false],
  ] as const)('%s', (_, container, answer, hasDirectory) => {
    expect(judgeContainer(container, answer, hasDirectory, false)).toMatchObject({ isGhost: true });
  });

  test('that still runs, even where the driver keeps what has ended', () => {
    expect(judgeContainer(RUNNING, FAILED, true, true).isGhost).toBe(true);
  });
});

describe('a container is left alone', () => {
  test.each([
    ['where Nomad did not answer', { kind: 'unanswered', why: 'connection refused' }, /connection refused/],
    ['where Nomad forgot the allocation, whose directory is there: its servers went back in time', GONE, /directory/],
    ['of an allocation that runs', found('running', 'running'), /running/],
    ['of an allocation that has not started', found('pending'), /pending/],
    ['of an allocation whose client is away and may reconnect', found('unknown', 'running'), /unknown/],
    ['of an allocation that failed with a poststop task to come', found('failed', 'dead', 'pending'), /t1 .* pending/],
    ['of a complete allocation with a task that runs', found('complete', 'running'), /t0 .* running/],
    ['of a lost allocation whose client last said that it runs', found('lost', 'running'), /t0 .* running/],
    ['of a lost allocation whose client said nothing, and has its directory', found('lost', undefined), /lost/],
  ] as const)('%s', (_, answer, why) => {
    expect(judgeContainer(RUNNING, answer, true, false)).toEqual({ isGhost: false, why: expect.stringMatching(why) });
  });

  test('that has ended, where the driver is told to keep it', () => {
    expect(judgeContainer({ state: 'exited' }, FAILED, true, true)).toMatchObject({ why: /gc/ });
  });
});

describe('a network', () => {
  const seen = { isUsers: true, isBeingMigrated: false };

  test.each([
    ['of an allocation that is over', FAILED],
    ['of an allocation that Nomad does not know', GONE],
  ])('%s is a ghost', (_, answer) => {
    expect(judgeNetwork(seen, answer, false).isGhost).toBe(true);
  });

  test.each([
    ["that is root's", { ...seen, isUsers: false }, FAILED, false],
    ['that is being handed over', { ...seen, isBeingMigrated: true }, FAILED, false],
    ['whose allocation has its directory', seen, FAILED, true],
    ['whose allocation runs', seen, found('running', 'running'), false],
    ['of which Nomad did not answer', seen, { kind: 'unanswered', why: '' }, false],
  ] as const)('%s is left alone', (_, network, answer, hasDirectory) => {
    expect(judgeNetwork(network, answer, hasDirectory).isGhost).toBe(false);
  });
});

test('nothing is a ghost unless Nomad says that there is no such allocation, or that it and all its tasks have ended', () => {
  const states = fc.array(fc.constantFrom<Task['state']>('pending', 'running', 'dead', undefined), { maxLength: 3 });
  const statuses = fc.constantFrom<Allocation['clientStatus']>(
    ...(['pending', 'running', 'complete', 'failed', 'lost', 'unknown'] as const),
  );
  const answers = fc.oneof(
    fc.constant<Answer>(GONE),
    fc.constant<Answer>({ kind: 'unanswered', why: 'x' }),
    fc.tuple(statuses, states).map(([status, all]) => found(status, ...all)),
  );
  fc.assert(
    fc.property(answers, fc.boolean(), (answer, hasDirectory) => {
      if (!judgeAllocation(answer, hasDirectory).isGhost) return true;
      if (answer.kind !== 'found') return answer.kind === 'gone' && !hasDirectory;
      const { clientStatus, tasks } = answer.allocation;
      return (
        ['complete', 'failed', 'lost'].includes(clientStatus) &&
        tasks.every(({ state }) => (state ?? 'dead') === 'dead')
      );
    }),
  );
});

describe('the name of a container', () => {
  test('is read as the driver writes it, dashes in the task too', () => {
    expect(containerNameOf(`web-1-${ID}`)).toEqual({ task: 'web-1', allocationId: ID });
  });

  test.each([`-${ID}`, ID, `web${ID}`, `web-${ID}-clone`, `web-${ID.toUpperCase()}x`, 'web', ''])(
    'that is %j is none of the driver',
    (name) => {
      expect(containerNameOf(name)).toBeUndefined();
    },
  );

  test('and an allocation come out of it as they went in', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.uuid(), (task, allocationId) => {
        expect(containerNameOf(`${task}-${allocationId}`)).toEqual({ task, allocationId });
      }),
    );
  });
});

describe('a container with the name of a task', () => {
  const name = { task: 'web', allocationId: ID };
  const made = [`/n/alloc/${ID}/alloc`, `/n/alloc/${ID}/web/local`, `/n/alloc/${ID}/web/secrets`];

  test('is made by the driver where it mounts the directories of that task', () => {
    expect(isMadeForTask([...made, '/srv'], name, '/n/alloc')).toBe(true);
    expect(isMadeForTask(made, name, '/n/alloc/')).toBe(true);
  });

  test.each([
    ['that mounts nothing', []],
    ['that mounts alloc/ alone, to look into it', made.slice(0, 1)],
    ['that mounts the directories of another task', made.map((path) => path.replace('/web/', '/db/'))],
    ["that mounts those of another Nomad's client", made.map((path) => path.replace('/n/', '/m/'))],
    ['that mounts those of another allocation', made.map((path) => path.replace(ID, ID.replace('1', '2')))],
  ])('%s is not', (_, sources) => {
    expect(isMadeForTask(sources, name, '/n/alloc')).toBe(false);
  });
});
