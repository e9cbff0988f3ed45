import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { NotYetError, ParseError, RefusedError } from '../../../src/errors.ts';
import type { Log } from '../../../src/log.ts';
import { createMetrics } from '../../../src/metrics.ts';
import type { Allocation } from '../../../src/model/allocation.ts';
import type { Desired } from '../../../src/model/desired.ts';
import { Reconciler } from '../../../src/reconcile/reconciler.ts';
import { stateOf } from '../../../src/reconcile/record.ts';
import type { Resource, Step } from '../../../src/resources/resource.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const NODE = 'aaaaaaaa-0000-0000-0000-000000000000';
const ID = '11111111-2222-3333-4444-555555555555';
const silent: Log = { debug: none, info: none, warn: none, error: none, child: () => silent };
const never = new AbortController().signal;

function none(): void {
  // The log is not what these tests look at.
}

function allocation(fields: Partial<Allocation> = {}): Allocation {
  const task = { name: 't', driver: 'podman', user: '', meta: { podman_user: 'alice' }, state: 'pending' as const };
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
    tasks: [task],
    ...fields,
  };
}

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

const running: Reconciler[] = [];
afterEach(() => Promise.all(running.splice(0).map((reconciler) => reconciler.stop())));

function setUp() {
  const nomad = new Map<string, Allocation | Error>([[ID, allocation()]]);
  const switches = new Switches();
  const clock = new ManualClock();
  const metrics = createMetrics('test');
  const asked: string[] = [];
  const stream = { stands: false };
  const directories = new Set<string>();
  const reconciler = new Reconciler({
    readAllocation: async (id) => {
      asked.push(id);
      const answer = nomad.get(id);
      if (answer instanceof Error) throw answer;
      return answer;
    },
    isUpToDate: () => stream.stands,
    hasDirectory: (id) => directories.has(id),
    rules: { nodeId: NODE, metaKey: 'podman_user', minUid: 1000, configured: new Set(['alice']) },
    accountOf: (name) => (name === 'alice' ? { name, uid: 1001, hasSubordinateIds: true } : undefined),
    resources: [switches],
    clock,
    log: silent,
    metrics,
  });
  running.push(reconciler);
  const record = () => [...reconciler.records()].find(({ id }) => id === ID);
  const counted = async (name: string) => (await metrics.registry.getSingleMetric(name)?.get())?.values ?? [];
  return { nomad, switches, clock, reconciler, asked, stream, directories, record, counted };
}

const away = new NotYetError('nomad_unreachable', 'Nomad did not answer');

describe('the reconciler', () => {
  test('makes the host what Nomad says, and sees that it is settled', async () => {
    const { switches, reconciler, record } = setUp();
    expect(await reconciler.passNow(ID, never)).toMatchObject({ kind: 'settled', desired: { kind: 'access' } });
    expect([...switches.on]).toEqual([ID]);
    const kept = record();
    expect(kept && stateOf(kept)).toBe('ready');
  });

  test('takes away what is there of an allocation that is gone, and forgets it', async () => {
    const { nomad, switches, reconciler, record } = setUp();
    await reconciler.passNow(ID, never);
    nomad.delete(ID);
    await reconciler.passNow(ID, never);
    expect([...switches.on]).toEqual([]);
    expect(record()).toBeUndefined();
  });

  test('grants nothing new while Nomad is away', async () => {
    const { nomad, switches, reconciler } = setUp();
    nomad.set(ID, away);
    expect(await reconciler.passNow(ID, never)).toMatchObject({ kind: 'failed', retryable: true });
    expect([...switches.on]).toEqual([]);
  });

  test('takes nothing away while Nomad is away or talks garbage, and mends what it knows', async () => {
    const { nomad, switches, reconciler } = setUp();
    await reconciler.passNow(ID, never);
    for (const error of [away, new RefusedError('parse_error', 'garbage')]) {
      nomad.set(ID, error);
      switches.on.clear();
      expect(await reconciler.passNow(ID, never)).toMatchObject({ kind: 'settled' });
      expect([...switches.on]).toEqual([ID]);
    }
  });

  test('asks for what it knows and a listing lacks, and keeps it if it is there', async () => {
    const { switches, reconciler, asked } = setUp();
    await reconciler.passNow(ID, never);
    asked.length = 0;
    const outcome = reconciler.nextOutcome(ID, never);
    reconciler.noticeListed([]);
    await outcome;
    expect(asked).toEqual([ID]);
    expect([...switches.on]).toEqual([ID]);
  });

  test('does not ask again for what was just listed, but does after news of it', async () => {
    const { reconciler, asked } = setUp();
    let outcome = reconciler.nextOutcome(ID, never);
    reconciler.noticeListed([allocation()]);
    await outcome;
    expect(asked).toEqual([]);
    outcome = reconciler.nextOutcome(ID, never);
    reconciler.noticeListed([allocation()]);
    reconciler.notice(ID);
    await outcome;
    expect(asked).toEqual([ID]);
  });

  test('asks where a listing is older than what is known: it was on its way, or Nomad has gone back', async () => {
    const { nomad, reconciler, asked, stream, record } = setUp();
    stream.stands = true;
    nomad.set(ID, allocation({ modifyIndex: 9 }));
    await reconciler.passNow(ID, never);
    const listed = async (modifyIndex: number) => {
      asked.length = 0;
      const outcome = reconciler.nextOutcome(ID, never);
      reconciler.noticeListed([allocation({ modifyIndex })]);
      await outcome;
      return [asked.length, record()?.allocation?.modifyIndex];
    };
    expect(await listed(5)).toEqual([1, 9]);
    nomad.set(ID, allocation({ modifyIndex: 7 }));
    expect(await listed(7)).toEqual([1, 7]);
    expect(await listed(7)).toEqual([0, 7]);
    expect(await listed(8)).toEqual([0, 8]);
  });

  test('does not bring back what was gone when a listing comes that was on its way before', async () => {
    const { nomad, reconciler, switches } = setUp();
    nomad.delete(ID);
    await reconciler.passNow(ID, never);
    const outcome = reconciler.nextOutcome(ID, never);
    reconciler.noticeListed([allocation()]);
    await outcome;
    expect([...switches.on]).toEqual([]);
    nomad.set(ID, allocation());
    const back = reconciler.nextOutcome(ID, never);
    reconciler.noticeListed([allocation()]);
    await back;
    expect([...switches.on]).toEqual([ID]);
  });

  test('does not bring back what a read that was under way when a listing came said is gone', async () => {
    const { nomad, reconciler, switches } = setUp();
    nomad.delete(ID);
    const gone = reconciler.passNow(ID, never);
    await Promise.resolve();
    reconciler.noticeListed([allocation()]);
    await gone;
    await reconciler.passNow(ID, never);
    expect([...switches.on]).toEqual([]);
  });

  test('knows what was listed when Nomad goes away before it is read', async () => {
    const { nomad, reconciler, switches } = setUp();
    nomad.set(ID, away);
    reconciler.noticeListed([allocation()]);
    reconciler.notice(ID);
    expect(await reconciler.passNow(ID, never)).toMatchObject({ kind: 'settled' });
    expect([...switches.on]).toEqual([ID]);
  });

  test('keeps what a forgotten allocation has until its directory is removed', async () => {
    const { nomad, reconciler, switches, directories, record, clock } = setUp();
    directories.add(ID);
    await reconciler.passNow(ID, never);
    nomad.delete(ID);
    expect(await reconciler.passNow(ID, never)).toMatchObject({
      kind: 'failed',
      retryable: true,
      error: { code: 'allocation_forgotten', message: /does not know allocation .* until its directory is removed/ },
    });
    const kept = record();
    expect([[...switches.on], kept && stateOf(kept)]).toEqual([[ID], 'waiting']);
    directories.delete(ID);
    const gone = reconciler.nextOutcome(ID, never);
    clock.advance(100);
    expect(await gone).toMatchObject({ kind: 'settled', desired: { why: 'gone' } });
    expect([...switches.on]).toEqual([]);
  });

  test('believes at once that an allocation is gone which it never saw alive', async () => {
    const { nomad, reconciler, switches, directories } = setUp();
    nomad.delete(ID);
    directories.add(ID);
    switches.on.add(ID);
    expect(await reconciler.passNow(ID, never)).toMatchObject({ kind: 'settled', desired: { why: 'gone' } });
    expect([...switches.on]).toEqual([]);
  });

  test('believes at once that an allocation is gone which had finished', async () => {
    const { nomad, reconciler, switches, directories } = setUp();
    directories.add(ID);
    await reconciler.passNow(ID, never);
    nomad.set(ID, allocation({ clientStatus: 'complete', tasks: [] }));
    switches.fail = new NotYetError('busy', 'not now');
    expect(await reconciler.passNow(ID, never)).toMatchObject({ kind: 'failed' });
    nomad.delete(ID);
    switches.fail = undefined;
    expect(await reconciler.passNow(ID, never)).toMatchObject({ kind: 'settled', desired: { why: 'gone' } });
    expect([...switches.on]).toEqual([]);
  });

  test('remembers why Nomad did not say what it knows, until it does', async () => {
    const { nomad, reconciler, record } = setUp();
    await reconciler.passNow(ID, never);
    nomad.set(ID, away);
    await reconciler.passNow(ID, never);
    expect(record()?.readError).toBe(away);
    const listed = reconciler.nextOutcome(ID, never);
    nomad.set(ID, allocation());
    reconciler.noticeListed([allocation()]);
    await listed;
    expect(record()?.readError).toBeUndefined();
  });

  test('waits, and does not refuse, where Nomad answers wrongly of what is not known', async () => {
    const { nomad, reconciler } = setUp();
    nomad.set(ID, new ParseError('allocation', 'object', 'null'));
    expect(await reconciler.passNow(ID, never)).toMatchObject({
      kind: 'failed',
      retryable: true,
      error: { code: 'nomad_garbage' },
    });
  });

  test('does not say who needs access while something on the host has not been looked at', async () => {
    const { nomad, reconciler } = setUp();
    expect(reconciler.liveUids()).toEqual(new Set());
    nomad.set(ID, away);
    const outcome = reconciler.nextOutcome(ID, never);
    reconciler.noticeListed([]);
    reconciler.noticeFound(ID);
    expect(reconciler.liveUids()).toBeUndefined();
    await outcome;
    expect(reconciler.liveUids()).toBeUndefined();
  });

  test('does not ask for what is settled while the event stream stands, until there is news of it', async () => {
    const { reconciler, asked, stream, switches, nomad } = setUp();
    await reconciler.passNow(ID, never);
    stream.stands = true;
    switches.on.clear();
    await reconciler.passNow(ID, never);
    expect([...switches.on]).toEqual([ID]);
    expect(asked).toEqual([ID]);
    nomad.delete(ID);
    const outcome = reconciler.nextOutcome(ID, never);
    reconciler.notice(ID);
    await outcome;
    expect(asked).toEqual([ID, ID]);
    expect([...switches.on]).toEqual([]);
  });

  test('asks again for news that it could not read', async () => {
    const { reconciler, asked, stream, nomad } = setUp();
    await reconciler.passNow(ID, never);
    stream.stands = true;
    nomad.set(ID, away);
    const outcome = reconciler.nextOutcome(ID, never);
    reconciler.notice(ID);
    await outcome;
    await reconciler.passNow(ID, never);
    expect(asked).toEqual([ID, ID, ID]);
  });

  test('asks each time while the event stream does not stand', async () => {
    const { reconciler, asked } = setUp();
    await reconciler.passNow(ID, never);
    await reconciler.passNow(ID, never);
    expect(asked).toEqual([ID, ID]);
  });

  test('tries again after a retryable error, later each time', async () => {
    const { switches, clock, reconciler } = setUp();
    switches.fail = new NotYetError('busy', 'not now');
    expect(await reconciler.passNow(ID, never)).toMatchObject({ kind: 'failed', retryable: true });
    switches.fail = undefined;
    const outcome = reconciler.nextOutcome(ID, never);
    await clock.advance(100);
    expect(await outcome).toMatchObject({ kind: 'settled' });
    expect([...switches.on]).toEqual([ID]);
  });

  test('waits for a change after a terminal error', async () => {
    const { switches, clock, reconciler, record } = setUp();
    switches.fail = new RefusedError('unsafe_path', 'a symlink');
    expect(await reconciler.passNow(ID, never)).toMatchObject({ kind: 'failed', retryable: false });
    const passes = switches.planned;
    await clock.advance(3_600_000);
    expect(switches.planned).toBe(passes);
    const kept = record();
    expect(kept && stateOf(kept)).toBe('refused');
  });

  test('does not call settled what a step did not make so', async () => {
    const { switches, reconciler } = setUp();
    switches.on.add = (): Set<string> => switches.on;
    expect(await reconciler.passNow(ID, never)).toMatchObject({ kind: 'failed', error: { code: 'not_settled' } });
  });

  test('counts containers that ran before their allocation was ready, once', async () => {
    const { nomad, reconciler, switches, record, counted } = setUp();
    const [task] = allocation().tasks;
    nomad.set(ID, allocation({ tasks: task ? [{ ...task, state: 'running' }] : [] }));
    await reconciler.passNow(ID, never);
    switches.on.clear();
    await reconciler.passNow(ID, never);
    expect(record()?.late).toBe(true);
    expect(await counted('nomad_rootless_late_preparations_total')).toMatchObject([{ value: 1 }]);
  });

  test('shows each allocation in the gauge once, and none that is gone', async () => {
    const { nomad, reconciler, counted } = setUp();
    await reconciler.passNow(ID, never);
    await reconciler.passNow(ID, never);
    const shown = async () => (await counted('nomad_rootless_allocations')).filter(({ value }) => value !== 0);
    expect(await shown()).toMatchObject([{ value: 1, labels: { user: 'alice', state: 'ready' } }]);
    nomad.delete(ID);
    await reconciler.passNow(ID, never);
    expect(await shown()).toEqual([]);
  });

  test('gives up waiting when the signal says so', async () => {
    const { reconciler } = setUp();
    const controller = new AbortController();
    const outcome = reconciler.nextOutcome(ID, controller.signal);
    controller.abort(new Error('gone'));
    await expect(outcome).rejects.toThrow('gone');
  });

  test('ends in the state of a clean pass after any sequence of news, listings and faults', async () => {
    const happening = fc.constantFrom('notice', 'listed', 'empty listing', 'away', 'back', 'gone', 'host changed');
    await fc.assert(
      fc.asyncProperty(fc.array(happening, { maxLength: 12 }), fc.boolean(), async (happenings, there) => {
        const { nomad, reconciler, switches } = setUp();
        for (const what of happenings) {
          if (what === 'notice') reconciler.notice(ID);
          else if (what === 'listed') reconciler.noticeListed([allocation()]);
          else if (what === 'empty listing') reconciler.noticeListed([]);
          else if (what === 'away') nomad.set(ID, away);
          else if (what === 'back') nomad.set(ID, allocation());
          else if (what === 'gone') nomad.delete(ID);
          else switches.on.clear();
          await Promise.resolve();
        }
        nomad.delete(ID);
        if (there) nomad.set(ID, allocation());
        reconciler.notice(ID);
        await reconciler.passNow(ID, never);
        expect([...switches.on]).toEqual(there ? [ID] : []);
      }),
      { numRuns: 200 },
    );
  });
});
