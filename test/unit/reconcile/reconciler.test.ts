import { constants } from 'node:os';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { NotYetError, ParseError, RefusedError } from '../../../src/errors.ts';
import { createMetrics } from '../../../src/metrics.ts';
import type { Allocation } from '../../../src/model/allocation.ts';
import type { Desired } from '../../../src/model/desired.ts';
import type { UserNeeds } from '../../../src/model/user-needs.ts';
import type { AccountAnswer } from '../../../src/reconcile/account-entry.ts';
import { Reconciler } from '../../../src/reconcile/reconciler.ts';
import { stateOf } from '../../../src/reconcile/record.ts';
import { ORDER, type Resource, type Step, type UserResource } from '../../../src/resources/resource.ts';
import { ALLOCATION_ID, allocationOf, metaOf, NODE_ID, taskOf } from '../../support/allocation-of.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { recordingLog } from '../../support/recording-log.ts';

const never = new AbortController().signal;

/** A host with one switch an allocation: on where it has access. `fail` is thrown by the next applied step. */
class Switches implements Resource {
  readonly kind = 'acl';
  readonly on = new Set<string>();
  fail: Error | undefined;
  planned = 0;

  plan(desired: Desired): Step[] {
    this.planned++;
    if (desired.kind === 'refused') return [];
    const wanted = desired.kind === 'access';
    if (wanted === this.on.has(desired.id)) return [];
    const apply = () => {
      if (this.fail) throw this.fail;
      if (wanted) this.on.add(desired.id);
      else this.on.delete(desired.id);
    };
    return [{ kind: 'acl', what: `switch ${desired.id}`, removes: !wanted, apply }];
  }
}

const ACCOUNTS = [
  { name: 'alice', uid: 1001, gid: 1001, home: '/home/alice' },
  { name: 'bob', uid: 1002, gid: 1002, home: '/home/bob' },
];

function accountOf(user: string | number): AccountAnswer {
  const account = ACCOUNTS.find(({ name, uid }) => name === user || uid === user);
  return account ? { kind: 'known', account } : { kind: 'unknown' };
}

/** An allocation of alice's that claims a volume. */
function claiming(): Allocation {
  const volumes = [{ name: 'disk', type: 'csi', source: 'vol-1', readOnly: false }];
  return allocationOf({ volumes, tasks: [taskOf('t', { volumes: ['disk'] })] });
}

/** Something that alice's allocations have together, of which nothing is ever missing. `fail` is thrown in place of a plan. */
class SharedVolumes implements UserResource {
  readonly kind = 'volume';
  readonly planned: UserNeeds[] = [];
  readonly removals: UserNeeds[] = [];
  fail: Error | undefined;

  uids(): number[] {
    return [1001];
  }

  neededBy({ volumes }: { volumes: readonly { uid: number }[] }): number[] {
    return volumes.map(({ uid }) => uid);
  }

  plan(_id: string, needs: UserNeeds): Step[] {
    if (this.fail) throw this.fail;
    this.planned.push(needs);
    return [];
  }

  planRemoval(needs: UserNeeds): Step[] {
    this.removals.push(needs);
    return [];
  }
}

const running: Reconciler[] = [];
afterEach(() => Promise.all(running.splice(0).map((reconciler) => reconciler.stop())));

function setUp(before: readonly Resource[] = [], userResources: readonly UserResource[] = []) {
  const nomad = new Map<string, Allocation | Error>([[ALLOCATION_ID, allocationOf()]]);
  const switches = new Switches();
  const clock = new ManualClock();
  const metrics = createMetrics('test');
  const log = recordingLog();
  const asked: string[] = [];
  const stream = { stands: false };
  const directories = new Set<string>();
  const granted = new Map<string, number>();
  const pending = new Map<string | number, AccountAnswer>();
  const reconciler = new Reconciler({
    readAllocation: async (id) => {
      asked.push(id);
      const answer = nomad.get(id);
      if (answer instanceof Error) throw answer;
      return answer;
    },
    isUpToDate: () => stream.stands,
    hasDirectory: (id) => directories.has(id),
    rules: {
      nodeId: NODE_ID,
      metaKey: 'podman_user',
      minUid: 1000,
      configured: new Set(['alice', 'bob']),
      policy: undefined,
    },
    accountOf: (name) => pending.get(name) ?? accountOf(name),
    hostVolumes: async () => new Map(),
    grantedOn: () => granted,
    isNetnsOwned: () => false,
    resources: [...before, switches],
    userResources,
    clock,
    log,
    metrics,
  });
  running.push(reconciler);
  const record = () => [...reconciler.records()].find(({ id }) => id === ALLOCATION_ID);
  const counted = async (name: string) => (await metrics.registry.getSingleMetric(name)?.get())?.values ?? [];
  return { nomad, switches, clock, reconciler, asked, stream, directories, granted, pending, record, counted, log };
}

const away = new NotYetError('nomad_unreachable', 'Nomad did not answer');

describe('the reconciler', () => {
  test('makes the host what Nomad says, and sees that it is settled', async () => {
    const { switches, reconciler, record } = setUp();
    expect(await reconciler.passNow(ALLOCATION_ID, never)).toMatchObject({
      kind: 'settled',
      desired: { kind: 'access' },
    });
    expect([...switches.on]).toEqual([ALLOCATION_ID]);
    const kept = record();
    expect(kept && stateOf(kept)).toBe('ready');
  });

  test("has two passes of a user's under way, however slow, and another one's meanwhile", async () => {
    const looks: string[] = [];
    const slow: Resource = {
      kind: 'view',
      plan: async (desired) => {
        if (desired.kind !== 'access' || desired.podman[0]?.name !== 'alice') return [];
        looks.push(desired.id);
        return await new Promise<Step[]>(() => undefined);
      },
    };
    const { nomad, reconciler } = setUp([slow]);
    running.splice(0); // what never ends is not waited for
    const ids = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((number) => ALLOCATION_ID.replace(/^./, String(number)));
    for (const id of ids) nomad.set(id, allocationOf({ id }));
    for (const id of ids) void reconciler.passNow(id, never);
    const bobs = ALLOCATION_ID.replace(/^./, 'b');
    nomad.set(bobs, allocationOf({ id: bobs, tasks: [taskOf('t', { meta: metaOf('bob') })] }));
    expect(await reconciler.passNow(bobs, never)).toMatchObject({ kind: 'settled' });
    expect(looks).toEqual(ids.slice(0, 2));
  });

  test('follows no change of the user of what is prepared, and reports it once', async () => {
    const { nomad, reconciler, record, counted } = setUp();
    await reconciler.passNow(ALLOCATION_ID, never);
    nomad.set(ALLOCATION_ID, allocationOf({ modifyIndex: 2, tasks: [taskOf('t', { meta: metaOf('bob') })] }));
    for (const _ of [1, 2]) {
      reconciler.enqueue(ALLOCATION_ID);
      const outcome = await reconciler.passNow(ALLOCATION_ID, never);
      expect(outcome).toMatchObject({ desired: { podman: [{ name: 'alice' }] } });
    }
    expect(await counted('nomad_rootless_errors_total')).toMatchObject([
      { value: 1, labels: { code: 'podman_user_changed' } },
    ]);
    const kept = record();
    expect(kept && stateOf(kept)).toBe('ready');
  });

  test('knows after a restart whom an allocation was prepared for', async () => {
    const { reconciler, granted } = setUp();
    granted.set('t', 1002);
    const outcome = await reconciler.passNow(ALLOCATION_ID, never);
    expect(outcome).toMatchObject({ desired: { podman: [{ name: 'bob' }], notApplied: [expect.any(String)] } });
  });

  test('says what is decided when the driver has begun to start a task, before the host is ready for it', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const slow: Resource = { kind: 'acl', plan: () => promise.then(() => []) };
    const { reconciler, switches, nomad } = setUp([slow]);
    reconciler.enqueueStart(ALLOCATION_ID);
    expect(await reconciler.desired(ALLOCATION_ID, never)).toMatchObject({ kind: 'access' });
    expect([...switches.on]).toEqual([]);
    // What was decided before the next start says nothing of that one.
    nomad.set(ALLOCATION_ID, allocationOf({ nodeId: '35ef367e-8026-c171-16fa-c405e00b640b' }));
    reconciler.enqueueStart(ALLOCATION_ID);
    const next = reconciler.desired(ALLOCATION_ID, never);
    resolve();
    expect(await next).toMatchObject({ kind: 'nothing', why: 'gone' });
  });

  test('says nothing of what is decided before Nomad has answered, until whoever asks gives up', async () => {
    const { reconciler, nomad, clock } = setUp();
    nomad.set(ALLOCATION_ID, away);
    reconciler.enqueueStart(ALLOCATION_ID);
    const giveUp = new AbortController();
    const given = reconciler.desired(ALLOCATION_ID, giveUp.signal);
    const decided = reconciler.desired(ALLOCATION_ID, never);
    for (let turn = 0; turn < 50; turn++) await undefined;
    giveUp.abort(new Error('given up'));
    await expect(given).rejects.toThrow('given up');
    nomad.set(ALLOCATION_ID, allocationOf());
    clock.advance(100);
    expect(await decided).toMatchObject({ kind: 'access' });
  });

  test('says what is decided of a start that begins while a pass finds nothing to do for the allocation', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const { nomad, reconciler } = setUp([{ kind: 'view', plan: () => promise.then(() => []) }]);
    nomad.delete(ALLOCATION_ID);
    const first = reconciler.passNow(ALLOCATION_ID, never);
    for (let turn = 0; turn < 50; turn++) await undefined;
    nomad.set(ALLOCATION_ID, allocationOf());
    reconciler.enqueueStart(ALLOCATION_ID);
    const decided = reconciler.desired(ALLOCATION_ID, never);
    resolve();
    expect(await first).toMatchObject({ desired: { kind: 'nothing', why: 'gone' } });
    expect(await decided).toMatchObject({ kind: 'access' });
  });

  test('lets an allocation wait whose user is not looked up yet, and goes on when the name service has answered', async () => {
    const { reconciler, switches, pending, record } = setUp();
    pending.set('alice', { kind: 'pending', why: 'LDAP is away' });
    const outcome = await reconciler.passNow(ALLOCATION_ID, never);
    expect(outcome).toMatchObject({ kind: 'failed', retryable: true, error: { code: 'user_not_looked_up' } });
    const kept = record();
    expect(kept && stateOf(kept)).toBe('waiting');
    pending.clear();
    const next = reconciler.nextOutcome(ALLOCATION_ID, never);
    reconciler.enqueueWaiting();
    expect(await next).toMatchObject({ kind: 'settled' });
    expect([...switches.on]).toEqual([ALLOCATION_ID]);
  });

  test('cleans up what has finished also while nobody says whose it was', async () => {
    const { nomad, reconciler, switches, pending } = setUp();
    await reconciler.passNow(ALLOCATION_ID, never);
    pending.set('alice', { kind: 'pending', why: 'LDAP is away' });
    nomad.set(
      ALLOCATION_ID,
      allocationOf({ modifyIndex: 2, clientStatus: 'complete', tasks: [taskOf('t', { state: 'dead' })] }),
    );
    reconciler.enqueue(ALLOCATION_ID);
    expect(await reconciler.passNow(ALLOCATION_ID, never)).toMatchObject({
      kind: 'settled',
      desired: { why: 'finished' },
    });
    expect([...switches.on]).toEqual([]);
  });

  test('takes away what is there of an allocation that is gone, and forgets it', async () => {
    const { nomad, switches, reconciler, record } = setUp();
    await reconciler.passNow(ALLOCATION_ID, never);
    nomad.delete(ALLOCATION_ID);
    await reconciler.passNow(ALLOCATION_ID, never);
    expect([...switches.on]).toEqual([]);
    expect(record()).toBeUndefined();
  });

  test('explains an allocation that it knows by what it knows, and changes nothing', async () => {
    const { nomad, switches, reconciler, asked } = setUp();
    await reconciler.passNow(ALLOCATION_ID, never);
    nomad.set(ALLOCATION_ID, away);
    switches.on.clear();
    const explanation = await reconciler.explain(ALLOCATION_ID);
    expect(explanation).toMatchObject({ state: 'ready', parts: [{ kind: 'acl', state: 'missing' }] });
    expect([...switches.on]).toEqual([]);
    expect(asked).toHaveLength(1);
  });

  test('asks Nomad to explain one that it does not know, and does not remember it', async () => {
    const { nomad, reconciler, record } = setUp();
    const explanation = await reconciler.explain(ALLOCATION_ID);
    expect(explanation).toMatchObject({ verdict: 'access', parts: [{ kind: 'acl', state: 'missing' }] });
    expect(explanation?.state).toBeUndefined();
    expect(record()).toBeUndefined();
    nomad.delete(ALLOCATION_ID);
    expect(await reconciler.explain(ALLOCATION_ID)).toBeUndefined();
    nomad.set(ALLOCATION_ID, away);
    await expect(reconciler.explain(ALLOCATION_ID)).rejects.toBe(away);
  });

  test('says of an allocation that Nomad has forgotten what keeps it from being cleaned up', async () => {
    const { nomad, switches, reconciler } = setUp();
    await reconciler.passNow(ALLOCATION_ID, never);
    nomad.delete(ALLOCATION_ID);
    switches.fail = new Error('busy');
    await reconciler.passNow(ALLOCATION_ID, never);
    await expect(reconciler.explain(ALLOCATION_ID)).rejects.toMatchObject({
      code: 'left_behind',
      message: expect.stringMatching(/knows no allocation .* cannot be removed: busy$/),
    });
  });

  test('grants nothing new while Nomad is away', async () => {
    const { nomad, switches, reconciler } = setUp();
    nomad.set(ALLOCATION_ID, away);
    expect(await reconciler.passNow(ALLOCATION_ID, never)).toMatchObject({ kind: 'failed', retryable: true });
    expect([...switches.on]).toEqual([]);
  });

  test('takes nothing away while Nomad is away or talks garbage, and mends what it knows', async () => {
    const { nomad, switches, reconciler } = setUp();
    await reconciler.passNow(ALLOCATION_ID, never);
    for (const error of [away, new RefusedError('parse_error', 'garbage')]) {
      nomad.set(ALLOCATION_ID, error);
      switches.on.clear();
      expect(await reconciler.passNow(ALLOCATION_ID, never)).toMatchObject({ kind: 'settled' });
      expect([...switches.on]).toEqual([ALLOCATION_ID]);
    }
  });

  test('asks for what it knows and a listing lacks, and keeps it if it is there', async () => {
    const { switches, reconciler, asked } = setUp();
    await reconciler.passNow(ALLOCATION_ID, never);
    asked.length = 0;
    const outcome = reconciler.nextOutcome(ALLOCATION_ID, never);
    reconciler.enqueueListed([]);
    await outcome;
    expect(asked).toEqual([ALLOCATION_ID]);
    expect([...switches.on]).toEqual([ALLOCATION_ID]);
  });

  test('does not ask again for what was just listed, but does after news of it', async () => {
    const { reconciler, asked } = setUp();
    let outcome = reconciler.nextOutcome(ALLOCATION_ID, never);
    reconciler.enqueueListed([allocationOf()]);
    await outcome;
    expect(asked).toEqual([]);
    outcome = reconciler.nextOutcome(ALLOCATION_ID, never);
    reconciler.enqueueListed([allocationOf()]);
    reconciler.enqueue(ALLOCATION_ID);
    await outcome;
    expect(asked).toEqual([ALLOCATION_ID]);
  });

  test('asks where a listing is older than what is known: it was on its way, or Nomad has gone back', async () => {
    const { nomad, reconciler, asked, stream, record } = setUp();
    stream.stands = true;
    nomad.set(ALLOCATION_ID, allocationOf({ modifyIndex: 9 }));
    await reconciler.passNow(ALLOCATION_ID, never);
    const listed = async (modifyIndex: number) => {
      asked.length = 0;
      const outcome = reconciler.nextOutcome(ALLOCATION_ID, never);
      reconciler.enqueueListed([allocationOf({ modifyIndex })]);
      await outcome;
      return [asked.length, record()?.allocation?.modifyIndex];
    };
    expect(await listed(5)).toEqual([1, 9]);
    nomad.set(ALLOCATION_ID, allocationOf({ modifyIndex: 7 }));
    expect(await listed(7)).toEqual([1, 7]);
    expect(await listed(7)).toEqual([0, 7]);
    expect(await listed(8)).toEqual([0, 8]);
  });

  test('does not bring back what was gone when a listing comes that was on its way before', async () => {
    const { nomad, reconciler, switches } = setUp();
    nomad.delete(ALLOCATION_ID);
    await reconciler.passNow(ALLOCATION_ID, never);
    const outcome = reconciler.nextOutcome(ALLOCATION_ID, never);
    reconciler.enqueueListed([allocationOf()]);
    await outcome;
    expect([...switches.on]).toEqual([]);
    nomad.set(ALLOCATION_ID, allocationOf());
    const back = reconciler.nextOutcome(ALLOCATION_ID, never);
    reconciler.enqueueListed([allocationOf()]);
    await back;
    expect([...switches.on]).toEqual([ALLOCATION_ID]);
  });

  test('does not bring back what a read that was under way when a listing came said is gone', async () => {
    const { nomad, reconciler, switches } = setUp();
    nomad.delete(ALLOCATION_ID);
    const gone = reconciler.passNow(ALLOCATION_ID, never);
    await Promise.resolve();
    reconciler.enqueueListed([allocationOf()]);
    await gone;
    await reconciler.passNow(ALLOCATION_ID, never);
    expect([...switches.on]).toEqual([]);
  });

  test('knows what was listed when Nomad goes away before it is read', async () => {
    const { nomad, reconciler, switches } = setUp();
    nomad.set(ALLOCATION_ID, away);
    reconciler.enqueueListed([allocationOf()]);
    reconciler.enqueue(ALLOCATION_ID);
    expect(await reconciler.passNow(ALLOCATION_ID, never)).toMatchObject({ kind: 'settled' });
    expect([...switches.on]).toEqual([ALLOCATION_ID]);
  });

  test('keeps what a forgotten allocation has until its directory is removed', async () => {
    const { nomad, reconciler, switches, directories, record, clock } = setUp();
    directories.add(ALLOCATION_ID);
    await reconciler.passNow(ALLOCATION_ID, never);
    nomad.delete(ALLOCATION_ID);
    expect(await reconciler.passNow(ALLOCATION_ID, never)).toMatchObject({
      kind: 'failed',
      retryable: true,
      error: { code: 'allocation_forgotten', message: /does not know allocation .* until its directory is removed/ },
    });
    const kept = record();
    expect([[...switches.on], kept && stateOf(kept)]).toEqual([[ALLOCATION_ID], 'waiting']);
    directories.delete(ALLOCATION_ID);
    const gone = reconciler.nextOutcome(ALLOCATION_ID, never);
    clock.advance(100);
    expect(await gone).toMatchObject({ kind: 'settled', desired: { why: 'gone' } });
    expect([...switches.on]).toEqual([]);
  });

  test('warns once of what stays as it is, and again of what is new', async () => {
    const { nomad, reconciler, directories, log } = setUp();
    directories.add(ALLOCATION_ID);
    await reconciler.passNow(ALLOCATION_ID, never);
    nomad.delete(ALLOCATION_ID);
    for (let pass = 0; pass < 20; pass++) await reconciler.passNow(ALLOCATION_ID, never);
    const warnings = () => log.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields);
    expect(warnings()).toMatchObject([{ code: 'allocation_forgotten' }]);
    nomad.set(ALLOCATION_ID, allocationOf());
    await reconciler.passNow(ALLOCATION_ID, never);
    nomad.delete(ALLOCATION_ID);
    for (let pass = 0; pass < 20; pass++) await reconciler.passNow(ALLOCATION_ID, never);
    expect(warnings()).toHaveLength(2);
  });

  test('warns of no forgotten allocation that was refused: nothing of it is here', async () => {
    const { nomad, reconciler, directories, record, log } = setUp();
    directories.add(ALLOCATION_ID);
    nomad.set(ALLOCATION_ID, allocationOf({ tasks: [taskOf('t', { meta: metaOf('ghost') })] }));
    await reconciler.passNow(ALLOCATION_ID, never);
    nomad.delete(ALLOCATION_ID);
    for (let pass = 0; pass < 20; pass++) await reconciler.passNow(ALLOCATION_ID, never);
    expect([record(), log.lines.filter(({ level }) => level === 'warn')]).toEqual([undefined, []]);
  });

  test('believes at once that an allocation is gone which it never saw alive', async () => {
    const { nomad, reconciler, switches, directories } = setUp();
    nomad.delete(ALLOCATION_ID);
    directories.add(ALLOCATION_ID);
    switches.on.add(ALLOCATION_ID);
    expect(await reconciler.passNow(ALLOCATION_ID, never)).toMatchObject({ kind: 'settled', desired: { why: 'gone' } });
    expect([...switches.on]).toEqual([]);
  });

  test('believes at once that an allocation is gone which had finished', async () => {
    const { nomad, reconciler, switches, directories } = setUp();
    directories.add(ALLOCATION_ID);
    await reconciler.passNow(ALLOCATION_ID, never);
    nomad.set(ALLOCATION_ID, allocationOf({ clientStatus: 'complete', tasks: [] }));
    switches.fail = new NotYetError('busy', 'not now');
    expect(await reconciler.passNow(ALLOCATION_ID, never)).toMatchObject({ kind: 'failed' });
    nomad.delete(ALLOCATION_ID);
    switches.fail = undefined;
    expect(await reconciler.passNow(ALLOCATION_ID, never)).toMatchObject({ kind: 'settled', desired: { why: 'gone' } });
    expect([...switches.on]).toEqual([]);
  });

  test('remembers why Nomad did not say what it knows, until it does', async () => {
    const { nomad, reconciler, record } = setUp();
    await reconciler.passNow(ALLOCATION_ID, never);
    nomad.set(ALLOCATION_ID, away);
    await reconciler.passNow(ALLOCATION_ID, never);
    expect(record()?.readError).toBe(away);
    const listed = reconciler.nextOutcome(ALLOCATION_ID, never);
    nomad.set(ALLOCATION_ID, allocationOf());
    reconciler.enqueueListed([allocationOf()]);
    await listed;
    expect(record()?.readError).toBeUndefined();
  });

  test('waits, and does not refuse, where Nomad answers what cannot be read about what is not known', async () => {
    const { nomad, reconciler } = setUp();
    nomad.set(ALLOCATION_ID, new ParseError('allocation', 'object', 'null'));
    expect(await reconciler.passNow(ALLOCATION_ID, never)).toMatchObject({
      kind: 'failed',
      retryable: true,
      error: { code: 'nomad_garbage' },
    });
  });

  test('goes on taking away where one thing cannot be, and grants nothing after what failed', async () => {
    const broken: Resource = {
      kind: 'acl',
      plan: () => {
        throw new NotYetError('view_unreadable', 'not now');
      },
    };
    const { nomad, reconciler, switches } = setUp([broken]);
    switches.on.add(ALLOCATION_ID);
    nomad.delete(ALLOCATION_ID);
    expect(await reconciler.passNow(ALLOCATION_ID, never)).toMatchObject({ error: { code: 'view_unreadable' } });
    expect([...switches.on]).toEqual([]);
    nomad.set(ALLOCATION_ID, allocationOf());
    expect(await reconciler.passNow(ALLOCATION_ID, never)).toMatchObject({ error: { code: 'view_unreadable' } });
    expect([...switches.on]).toEqual([]);
  });

  test('takes away each thing of one kind that it can, and none is granted after one that failed', async () => {
    const done: string[] = [];
    const step = (what: string, apply: Step['apply']): Step => ({ kind: 'volume', what, removes: true, apply });
    const fail = () => {
      throw new NotYetError('volume_busy', 'not now');
    };
    const both: Resource = {
      kind: 'volume',
      plan: () => [step('first', fail), step('second', () => void done.push('second'))],
    };
    const { nomad, reconciler } = setUp([both]);
    expect(await reconciler.passNow(ALLOCATION_ID, never)).toMatchObject({ error: { code: 'volume_busy' } });
    expect(done).toEqual([]);
    nomad.delete(ALLOCATION_ID);
    expect(await reconciler.passNow(ALLOCATION_ID, never)).toMatchObject({ error: { code: 'volume_busy' } });
    expect(done).toEqual(['second']);
  });

  test('tries again what fails for want of descriptors, whatever error says so', async () => {
    const { reconciler, switches } = setUp();
    const { EMFILE } = constants.errno;
    const opening = Object.assign(new Error('EMFILE: too many open files'), { errno: -EMFILE, code: 'EMFILE' });
    for (const error of [opening, new RefusedError('file_unreadable', 'cannot read a file', opening)]) {
      switches.fail = error;
      expect(await reconciler.passNow(ALLOCATION_ID, never)).toMatchObject({ kind: 'failed', retryable: true });
    }
    switches.fail = new RefusedError('volume_shut', 'not for alice', new NotYetError('away', 'not now'));
    expect(await reconciler.passNow(ALLOCATION_ID, never)).toMatchObject({ kind: 'failed', retryable: false });
  });

  test('locks an allocation before it is shown to anybody, and shows nothing where that fails', async () => {
    const done: string[] = [];
    const doing = (kind: Resource['kind'], prepare: () => void = () => undefined): Step[] => {
      const apply = () => {
        prepare();
        done.push(kind);
      };
      return done.includes(kind) ? [] : [{ kind, what: kind, removes: false, apply }];
    };
    let isLockable = false;
    const lock = () => {
      if (!isLockable) throw new NotYetError('away', 'not now');
    };
    const resources: Resource[] = [
      { kind: 'netns', plan: () => doing('netns') },
      { kind: 'log_fifo', plan: () => doing('log_fifo') },
      { kind: 'view', plan: () => doing('view') },
      { kind: 'acl', plan: () => doing('acl', lock) },
    ];
    const volumes: UserResource = {
      kind: 'volume',
      uids: () => [],
      neededBy: () => [1001],
      plan: () => doing('volume'),
      planRemoval: () => [],
    };
    const { reconciler } = setUp(resources, [volumes]);
    expect(await reconciler.passNow(ALLOCATION_ID, never)).toMatchObject({ kind: 'failed', retryable: true });
    expect(done).toEqual([]);
    isLockable = true;
    expect(await reconciler.passNow(ALLOCATION_ID, never)).toMatchObject({ kind: 'settled' });
    expect(done).toEqual(['acl', 'view', 'volume', 'log_fifo', 'netns']);
    expect(ORDER).toEqual(done);
  });

  test('knows of each kind of thing whether all of it was there when a pass last came to it', async () => {
    let problem: Error | undefined = away;
    const acl: Resource = { kind: 'acl', plan: () => [] };
    const view: Resource = {
      kind: 'view',
      plan: () => {
        if (problem) throw problem;
        return [];
      },
    };
    const { reconciler, record } = setUp([acl, view]);
    await reconciler.passNow(ALLOCATION_ID, never);
    expect([...(record()?.found ?? [])]).toEqual(['acl']);
    problem = undefined;
    await reconciler.passNow(ALLOCATION_ID, never);
    expect(record()?.found).toContain('view');
    problem = away;
    await reconciler.passNow(ALLOCATION_ID, never);
    expect(record()?.found).not.toContain('view');
    expect(record()?.found).toContain('acl');
  });

  test('tells what the allocations of a user need together, of what is prepared and of nothing else', async () => {
    const shared = new SharedVolumes();
    const { nomad, reconciler } = setUp([], [shared]);
    nomad.set(ALLOCATION_ID, claiming());
    expect(await reconciler.passNow(ALLOCATION_ID, never)).toMatchObject({ kind: 'settled' });
    expect(shared.planned).toMatchObject([
      { uid: 1001, isComplete: false, volumes: [{ id: ALLOCATION_ID, volume: { uid: 1001, tasks: ['t'] } }] },
    ]);
    const dead = taskOf('t', { volumes: ['disk'], state: 'dead' });
    nomad.set(ALLOCATION_ID, { ...claiming(), tasks: [dead], clientStatus: 'failed', modifyIndex: 2 });
    reconciler.enqueueListed([]);
    reconciler.enqueueFound([]);
    expect(await reconciler.passNow(ALLOCATION_ID, never)).toMatchObject({ desired: { kind: 'nothing' } });
    expect(shared.removals.at(-1)).toEqual({ uid: 1001, isComplete: true, allocations: new Set(), volumes: [] });
  });

  test('is settled only once the pass over its user has given it what it needs, and says why not', async () => {
    const shared = new SharedVolumes();
    shared.fail = new RefusedError('volume_shut', 'not for alice');
    const { nomad, reconciler } = setUp([], [shared]);
    nomad.set(ALLOCATION_ID, claiming());
    const other = ALLOCATION_ID.replace(/^./, 'b');
    nomad.set(other, allocationOf({ id: other }));
    const refused = { kind: 'failed', retryable: false, error: { code: 'volume_shut' } };
    expect(await reconciler.passNow(ALLOCATION_ID, never)).toMatchObject(refused);
    expect(await reconciler.passNow(other, never)).toMatchObject({ kind: 'settled' });
    shared.fail = undefined;
    expect(await reconciler.passNow(ALLOCATION_ID, never)).toMatchObject({ kind: 'settled' });
  });

  test('takes nothing away that users have together while something on the host has not been looked at', async () => {
    const shared = new SharedVolumes();
    const { nomad, reconciler } = setUp([], [shared]);
    const found = ALLOCATION_ID.replace(/^./, 'b');
    nomad.set(found, away);
    reconciler.enqueueListed([allocationOf()]);
    await reconciler.passNow(ALLOCATION_ID, never);
    expect(shared.removals).toEqual([]); // what is on the host is not known
    reconciler.enqueueFound([found, ALLOCATION_ID]);
    expect(await reconciler.passNow(found, never)).toMatchObject({ kind: 'failed' });
    const tasks = [taskOf('t', { state: 'dead' })];
    nomad.set(ALLOCATION_ID, allocationOf({ tasks, clientStatus: 'failed', modifyIndex: 2 }));
    reconciler.enqueue(ALLOCATION_ID);
    expect(await reconciler.passNow(ALLOCATION_ID, never)).toMatchObject({ desired: { kind: 'nothing' } });
    expect(shared.removals).toEqual([]);
    nomad.set(found, allocationOf({ id: found }));
    reconciler.enqueue(found);
    await reconciler.passNow(found, never);
    await reconciler.stop();
    expect(shared.removals).toEqual([{ uid: 1001, isComplete: true, allocations: new Set([found]), volumes: [] }]);
  });

  test('is not kept from taking away by allocations that the gate alone names', async () => {
    const shared = new SharedVolumes();
    const { nomad, reconciler } = setUp([], [shared]);
    const named = ALLOCATION_ID.replace(/^./, 'b');
    nomad.set(named, away);
    reconciler.enqueueListed([]);
    reconciler.enqueueFound([]);
    expect(await reconciler.passNow(named, never)).toMatchObject({ kind: 'failed' });
    shared.removals.splice(0);
    reconciler.enqueueFound([]);
    await reconciler.stop();
    expect(shared.removals).toHaveLength(1);
  });

  test('does not ask for what is settled while the event stream stands, until there is news of it', async () => {
    const { reconciler, asked, stream, switches, nomad } = setUp();
    await reconciler.passNow(ALLOCATION_ID, never);
    stream.stands = true;
    switches.on.clear();
    await reconciler.passNow(ALLOCATION_ID, never);
    expect([...switches.on]).toEqual([ALLOCATION_ID]);
    expect(asked).toEqual([ALLOCATION_ID]);
    nomad.delete(ALLOCATION_ID);
    const outcome = reconciler.nextOutcome(ALLOCATION_ID, never);
    reconciler.enqueue(ALLOCATION_ID);
    await outcome;
    expect(asked).toEqual([ALLOCATION_ID, ALLOCATION_ID]);
    expect([...switches.on]).toEqual([]);
  });

  test('asks again for news that it could not read', async () => {
    const { reconciler, asked, stream, nomad } = setUp();
    await reconciler.passNow(ALLOCATION_ID, never);
    stream.stands = true;
    nomad.set(ALLOCATION_ID, away);
    const outcome = reconciler.nextOutcome(ALLOCATION_ID, never);
    reconciler.enqueue(ALLOCATION_ID);
    await outcome;
    await reconciler.passNow(ALLOCATION_ID, never);
    expect(asked).toEqual([ALLOCATION_ID, ALLOCATION_ID, ALLOCATION_ID]);
  });

  test('asks each time while the event stream does not stand', async () => {
    const { reconciler, asked } = setUp();
    await reconciler.passNow(ALLOCATION_ID, never);
    await reconciler.passNow(ALLOCATION_ID, never);
    expect(asked).toEqual([ALLOCATION_ID, ALLOCATION_ID]);
  });

  test('tries again after a retryable error, later each time', async () => {
    const { switches, clock, reconciler } = setUp();
    switches.fail = new NotYetError('busy', 'not now');
    expect(await reconciler.passNow(ALLOCATION_ID, never)).toMatchObject({ kind: 'failed', retryable: true });
    switches.fail = undefined;
    const outcome = reconciler.nextOutcome(ALLOCATION_ID, never);
    await clock.advance(100);
    expect(await outcome).toMatchObject({ kind: 'settled' });
    expect([...switches.on]).toEqual([ALLOCATION_ID]);
  });

  test('waits for a change after a terminal error', async () => {
    const { switches, clock, reconciler, record } = setUp();
    switches.fail = new RefusedError('unsafe_path', 'a symlink');
    expect(await reconciler.passNow(ALLOCATION_ID, never)).toMatchObject({ kind: 'failed', retryable: false });
    const passes = switches.planned;
    await clock.advance(3_600_000);
    expect(switches.planned).toBe(passes);
    const kept = record();
    expect(kept && stateOf(kept)).toBe('refused');
  });

  test('does not call settled what a step did not make so', async () => {
    const { switches, reconciler } = setUp();
    switches.on.add = (): Set<string> => switches.on;
    expect(await reconciler.passNow(ALLOCATION_ID, never)).toMatchObject({
      kind: 'failed',
      error: { code: 'not_settled' },
    });
  });

  test('counts containers that ran before their allocation was ready, once', async () => {
    const { nomad, reconciler, switches, record, counted } = setUp();
    const [task] = allocationOf().tasks;
    nomad.set(ALLOCATION_ID, allocationOf({ tasks: task ? [{ ...task, state: 'running' }] : [] }));
    await reconciler.passNow(ALLOCATION_ID, never);
    switches.on.clear();
    await reconciler.passNow(ALLOCATION_ID, never);
    expect(record()?.late).toBe(true);
    expect(await counted('nomad_rootless_late_preparations_total')).toMatchObject([{ value: 1 }]);
  });

  test('counts it also where the first look did not come to an end', async () => {
    const { nomad, reconciler, record, pending } = setUp();
    nomad.set(ALLOCATION_ID, allocationOf({ tasks: [taskOf('t', { state: 'running' })] }));
    pending.set('alice', { kind: 'pending', why: 'LDAP is away' });
    await reconciler.passNow(ALLOCATION_ID, never);
    pending.clear();
    await reconciler.passNow(ALLOCATION_ID, never);
    expect(record()?.late).toBe(true);
  });

  test('shows each allocation in the gauge once, and none that is gone', async () => {
    const { nomad, reconciler, counted } = setUp();
    await reconciler.passNow(ALLOCATION_ID, never);
    await reconciler.passNow(ALLOCATION_ID, never);
    const shown = async () => (await counted('nomad_rootless_allocations')).filter(({ value }) => value !== 0);
    expect(await shown()).toMatchObject([{ value: 1, labels: { user: 'alice', state: 'ready' } }]);
    nomad.delete(ALLOCATION_ID);
    await reconciler.passNow(ALLOCATION_ID, never);
    expect(await shown()).toEqual([]);
  });

  test('gives up waiting when the signal says so', async () => {
    const { reconciler } = setUp();
    const controller = new AbortController();
    const outcome = reconciler.nextOutcome(ALLOCATION_ID, controller.signal);
    controller.abort(new Error('gone'));
    await expect(outcome).rejects.toThrow('gone');
  });

  test('ends in the state of a clean pass after any sequence of news, listings and faults', async () => {
    const happening = fc.constantFrom('notice', 'listed', 'empty listing', 'away', 'back', 'gone', 'host changed');
    await fc.assert(
      fc.asyncProperty(fc.array(happening, { maxLength: 12 }), fc.boolean(), async (happenings, there) => {
        const { nomad, reconciler, switches } = setUp();
        for (const what of happenings) {
          if (what === 'notice') reconciler.enqueue(ALLOCATION_ID);
          else if (what === 'listed') reconciler.enqueueListed([allocationOf()]);
          else if (what === 'empty listing') reconciler.enqueueListed([]);
          else if (what === 'away') nomad.set(ALLOCATION_ID, away);
          else if (what === 'back') nomad.set(ALLOCATION_ID, allocationOf());
          else if (what === 'gone') nomad.delete(ALLOCATION_ID);
          else switches.on.clear();
          await Promise.resolve();
        }
        nomad.delete(ALLOCATION_ID);
        if (there) nomad.set(ALLOCATION_ID, allocationOf());
        reconciler.enqueue(ALLOCATION_ID);
        await reconciler.passNow(ALLOCATION_ID, never);
        expect([...switches.on]).toEqual(there ? [ALLOCATION_ID] : []);
      }),
      { numRuns: 100 },
    );
  });
});
