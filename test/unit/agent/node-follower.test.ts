import fc from 'fast-check';
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { NotYetError, RefusedError } from '../../../src/errors.ts';
import type { Allocation } from '../../../src/model/allocation.ts';
import { allocationOf, metaOf, taskOf } from '../../support/allocation-of.ts';
import { cleanState, Followed, INTERVAL_MS, settle } from '../../support/followed.ts';
import { NODE_ID } from '../../support/nomad-fixture.ts';
import { type Faults, SimulatedNomad } from '../../support/simulated-nomad.ts';
import { GOOD_SURROUNDINGS } from '../../support/surroundings.ts';

const OTHER_NODE = '35ef367e-8026-c171-16fa-c405e00b640b';
const never = new AbortController().signal;

function idOf(number: number): string {
  return `00000000-0000-0000-0000-${String(number).padStart(12, '0')}`;
}

/** A running allocation: the first is in another namespace than the others, the third is bob's, the others alice's. */
function allocation(number: number, nodeId = NODE_ID): Allocation {
  return allocationOf({
    id: idOf(number),
    namespace: number === 1 ? 'ünï/"c*d"' : 'default',
    nodeId,
    clientStatus: 'running',
    tasks: [taskOf('t', { meta: metaOf(number === 3 ? 'bob' : 'alice'), state: 'running' })],
  });
}

type Happening =
  | { readonly what: 'place' | 'finish' | 'purge' | 'notice'; readonly number: number }
  | { readonly what: 'hold'; readonly holds: boolean }
  | { readonly what: 'deliver'; readonly number: number }
  | { readonly what: 'cut line' | 'snapshot' | 'restore' | 'break' | 'restart' }
  | { readonly what: 'faults'; readonly faults: Faults }
  | { readonly what: 'time'; readonly ms: number };

const just = (...what: (Happening & { what: 'cut line' | 'snapshot' | 'restore' | 'break' | 'restart' })['what'][]) =>
  fc.constantFrom(...what.map((one): Happening => ({ what: one })));
const time = (...ms: number[]) => fc.constantFrom(...ms.map((one): Happening => ({ what: 'time', ms: one })));
/** What happens in a Nomad that is well, with answers that take their time. */
const course: fc.Arbitrary<Happening>[] = [
  fc.record({
    what: fc.constantFrom('place', 'finish', 'purge', 'notice'),
    number: fc.integer({ min: 1, max: 6 }),
  }),
  fc.record({ what: fc.constant('hold'), holds: fc.boolean() }),
  fc.record({ what: fc.constant('deliver'), number: fc.nat(3) }),
  just('cut line'),
];
/** What goes wrong besides. */
const trouble: fc.Arbitrary<Happening>[] = [
  just('snapshot', 'restore', 'break', 'restart'),
  fc.record({
    what: fc.constant('faults'),
    faults: fc.record({
      read: fc.constantFrom('none', 'none', 'error', 'denied'),
      listing: fc.constantFrom('none', 'none', 'error', 'empty', 'short'),
      stream: fc.constantFrom('none', 'none', 'refused', 'silent', 'lossy', 'doubled', 'garbage'),
    }),
  }),
];

async function happen(one: Happening, nomad: SimulatedNomad, followed: Followed): Promise<void> {
  if (one.what === 'place') {
    if (!nomad.purged.has(idOf(one.number))) nomad.write(allocation(one.number));
  } else if (one.what === 'finish') nomad.finish(idOf(one.number));
  else if (one.what === 'purge') nomad.purge(idOf(one.number));
  else if (one.what === 'notice') followed.follower.prepare(idOf(one.number));
  else if (one.what === 'hold') nomad.holdsAnswers = one.holds;
  else if (one.what === 'deliver') nomad.deliver(one.number);
  else if (one.what === 'cut line') nomad.sendCutLine();
  else if (one.what === 'snapshot') nomad.takeSnapshot();
  else if (one.what === 'restore') nomad.restoreSnapshot();
  else if (one.what === 'break') nomad.breakStreams();
  else if (one.what === 'restart') await followed.restart();
  else if (one.what === 'faults') nomad.faults = one.faults;
  else if (one.what === 'time') await followed.pass(one.ms);
  await settle();
}

describe('whatever happens', () => {
  test('what was done to the host ends as one clean listing says, and nothing is taken from what runs', async () => {
    const happening = fc.oneof(...course, ...trouble, time(10, 1000, 31_000, 95_000, 310_000));
    await fc.assert(
      fc.asyncProperty(fc.array(happening, { maxLength: 40, size: 'max' }), async (happenings) => {
        const nomad = new SimulatedNomad();
        const followed = new Followed(nomad);
        for (const one of happenings) {
          await happen(one, nomad, followed);
          expect(followed.robbed).toEqual([]);
        }
        nomad.heal();
        // Until the next listing, and whatever was put off until then.
        await followed.pass(INTERVAL_MS + 60_000);
        expect(followed.state()).toEqual(await cleanState(nomad));
        await followed.stop();
      }),
      { numRuns: 100 },
    );
  });

  test('while nothing goes wrong no listing has to mend anything, in whatever order answers come', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(...course, time(10, 1000)), { maxLength: 40, size: 'max' }),
        async (happenings) => {
          const nomad = new SimulatedNomad();
          const followed = new Followed(nomad);
          nomad.onDirectory = (id) => followed.follower.prepare(id);
          await followed.pass(2000);
          for (const one of happenings) await happen(one, nomad, followed);
          nomad.heal();
          await followed.pass(31_000);
          expect(followed.state()).toEqual(await cleanState(nomad));
          await followed.stop();
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe('following a node', () => {
  let nomad: SimulatedNomad;
  let followed: Followed;

  beforeEach(() => {
    nomad = new SimulatedNomad();
    followed = new Followed(nomad);
    onTestFinished(() => followed.stop());
  });

  const create = (number: number) => ({
    allocationId: idOf(number),
    task: 't',
    uid: 1001,
    joinsNetns: false,
    mounts: [],
    volumes: [],
  });

  test('begins anew where the data dir was wiped, and what was of the node before is gone', async () => {
    nomad.write(allocation(2));
    await followed.pass(2000);
    expect(followed.state().on).toEqual([`${idOf(2)} 1001`]);
    nomad.breakStreams();
    nomad.nodeId = OTHER_NODE;
    nomad.write(allocation(3, OTHER_NODE));
    await followed.pass(5000);
    expect(followed.follower.self?.nodeId).toBe(OTHER_NODE);
    expect(followed.state()).toMatchObject({ on: [`${idOf(3)} 1002`], reasons: [] });
    expect(followed.log.lines).toContainEqual(
      expect.objectContaining({ level: 'warn', fields: { code: 'nomad_other_node' } }),
    );
  });

  test('lets a create of the new node through although nobody has said yet that it is another one', async () => {
    await followed.pass(2000);
    nomad.nodeId = OTHER_NODE;
    nomad.write(allocation(2, OTHER_NODE));
    const ready = followed.follower.ready(create(2), never);
    await followed.pass(2000);
    await ready;
    expect(followed.state().on).toEqual([`${idOf(2)} 1001`]);
  });

  test('refuses a create for an allocation that really is of another node', async () => {
    await followed.pass(2000);
    nomad.write(allocation(2, OTHER_NODE));
    await expect(followed.follower.ready(create(2), never)).rejects.toMatchObject({ code: 'allocation_gone' });
    expect(followed.follower.self?.nodeId).toBe(NODE_ID);
  });

  test('is not ready while Nomad is no client, or cannot be asked who it is, before and after', async () => {
    const refusal = new RefusedError('nomad_not_a_client', 'the Nomad agent that answers runs no client');
    nomad.selfError = refusal;
    await followed.restart();
    await followed.pass(2000);
    expect(followed.state().reasons).toEqual([refusal.message]);
    nomad.selfError = undefined;
    await followed.pass(31_000);
    expect(followed.state().reasons).toEqual([]);
    nomad.selfError = new NotYetError('nomad_denied', 'the policy lacks: agent { policy = "read" }');
    await followed.pass(INTERVAL_MS);
    expect(followed.state().reasons).toEqual(['the policy lacks: agent { policy = "read" }']);
    nomad.selfError = undefined;
    await followed.pass(31_000);
    expect(followed.state().reasons).toEqual([]);
  });

  test.each([
    ["Nomad's directories are not there yet", new NotYetError('no_alloc_dir', "Nomad's alloc dir /x cannot be used")],
    ['the host fails in a way that nobody foresaw', new TypeError('x is not iterable')],
  ])('is not ready while %s, lets creates wait and says why, and goes on', async (_, error) => {
    followed.hostError = error;
    await followed.restart();
    nomad.write(allocation(2));
    await followed.pass(60_000);
    expect(followed.state()).toEqual({ on: [], records: [], reasons: [error.message] });
    const controller = new AbortController();
    const refused = followed.follower.ready(create(2), controller.signal);
    controller.abort();
    await expect(refused).rejects.toMatchObject({ code: 'nomad_not_attached', message: error.message });
    const ready = followed.follower.ready(create(2), never);
    followed.hostError = undefined;
    await followed.pass(31_000);
    await ready;
    expect(followed.state()).toMatchObject({ on: [`${idOf(2)} 1001`], reasons: [] });
  });

  test('begins anew where following fails in a way that nobody foresaw', async () => {
    nomad.write(allocation(2));
    const broken = vi.spyOn(nomad, 'nodeAllocations');
    broken.mockResolvedValue({ allocations: JSON.parse('[null]'), malformed: [] });
    await followed.restart();
    await followed.pass(60_000);
    expect(followed.state().reasons).toEqual([expect.stringContaining('null')]);
    expect(broken.mock.calls.length).toBeLessThan(30);
    broken.mockRestore();
    await followed.pass(31_000);
    expect(followed.state()).toMatchObject({ on: [`${idOf(2)} 1001`], reasons: [] });
  });

  test("says where the driver's sockets and the gates do not fit, as Nomad has them now, and logs it once", async () => {
    await followed.pass(2000);
    expect(followed.follower.warnings()).toEqual([]);
    const fitting = nomad.podmanSockets;
    nomad.podmanSockets = fitting.map(({ name, path }) => ({ name, path: path.replace('alice', 'alcie') }));
    nomad.breakStreams();
    await followed.pass(3 * INTERVAL_MS);
    const said = followed.follower.warnings();
    expect(said).toEqual([
      expect.stringMatching(/^the driver's sockets: .*alcie\.sock, where no gate is.*no task can run as alice/),
    ]);
    const logged = followed.log.lines.filter(({ fields }) => 'code' in fields && fields.code === 'check_failed');
    expect(logged.map(({ message }) => message)).toEqual(said);
    nomad.podmanSockets = fitting;
    await followed.pass(INTERVAL_MS);
    expect(followed.follower.warnings()).toEqual([]);
  });

  test('says what doctor would say of the host and the driver, looks again when rules change, and stays ready', async () => {
    const { host, ...rest } = GOOD_SURROUNDINGS;
    followed.surroundings = () => ({ ...rest, host: { ...host, forwards: false } });
    nomad.httpTimeoutMs = 1000;
    await followed.restart();
    await followed.pass(2000);
    expect(followed.follower.warnings()).toEqual([
      expect.stringMatching(/^IP forwarding: net\.ipv4\.ip_forward is 0/),
      expect.stringMatching(/^the driver's time limit: client_http_timeout is 1 s/),
    ]);
    expect(followed.follower.reasons()).toEqual([]);
    followed.surroundings = () => GOOD_SURROUNDINGS;
    followed.follower.rulesChanged();
    expect(followed.follower.warnings()).toEqual([expect.stringContaining('client_http_timeout')]);
  });

  test('stays ready where it cannot look at the host, and says so', async () => {
    followed.surroundings = () => {
      throw new Error('/proc is away');
    };
    await followed.restart();
    await followed.pass(2000);
    expect(followed.follower.reasons()).toEqual([]);
    expect(followed.log.lines.map(({ message }) => message)).toContain('cannot look at this host: /proc is away');
  });

  test('tells of a create that waits for Nomad what it waits for, when it is given up', async () => {
    nomad.selfError = new NotYetError('nomad_unreachable', 'nobody listens');
    await followed.restart();
    await followed.pass(1000);
    const controller = new AbortController();
    const ready = followed.follower.ready(create(2), controller.signal);
    controller.abort();
    await expect(ready).rejects.toMatchObject({ code: 'nomad_not_attached', message: 'nobody listens' });
  });

  test('serves what it knows for an hour without Nomad, lets what it does not know wait, and is well again after', async () => {
    nomad.write(allocation(2));
    await followed.pass(2000);
    nomad.faults = { read: 'error', listing: 'error', stream: 'refused' };
    nomad.breakStreams();
    await followed.pass(3_600_000);
    await followed.follower.ready(create(2), never);
    nomad.write(allocation(3));
    const controller = new AbortController();
    const unknown = followed.follower.ready(create(3), controller.signal);
    await followed.pass(30_000);
    controller.abort(new Error('timeout'));
    await expect(unknown).rejects.toMatchObject({ code: 'nomad_error', retryable: true });
    expect(followed.state()).toMatchObject({ on: [`${idOf(2)} 1001`] });
    expect(followed.state().reasons).toEqual(['500', 'No cluster leader']);
    nomad.heal();
    await followed.pass(60_000);
    expect(followed.state()).toEqual(await cleanState(nomad));
  });

  test.each([
    ['empty', 'before the agent was started', true],
    ['empty', 'while the agent runs', false],
    ['short', 'while the agent runs', false],
  ] as const)(
    'says which right is missing when listings are %s %s, and keeps everything',
    async (listing, _, restarts) => {
      for (const number of [1, 2, 3]) nomad.write(allocation(number));
      await followed.pass(2000);
      const before = followed.state();
      nomad.faults = { read: 'denied', listing, stream: 'silent' };
      nomad.breakStreams();
      if (restarts) await followed.restart();
      await followed.pass(INTERVAL_MS + 60_000);
      const hidden = listing === 'short' ? 'one allocation' : '3 allocations';
      expect(followed.state().reasons).toEqual([
        expect.stringMatching(/not one line in 30 s: .*lacks: namespace "\*" \{ capabilities = \["read-job"\] \}/),
        `Nomad does not show ${hidden} of this node: the token is not valid, or its policy lacks: namespace "*" { capabilities = ["read-job"] }`,
      ]);
      expect(followed.state().on).toEqual(before.on);
      nomad.heal();
      await followed.pass(INTERVAL_MS);
      expect(followed.state()).toEqual(before);
    },
  );

  test('keeps what the servers forgot until its directory is removed, also where nobody tells of that', async () => {
    nomad.takeSnapshot();
    nomad.write(allocation(2));
    await followed.pass(2000);
    nomad.restoreSnapshot();
    await followed.pass(INTERVAL_MS);
    expect(followed.state()).toMatchObject({ on: [`${idOf(2)} 1001`], records: [`${idOf(2)} waiting alice 11`] });
    nomad.removeDirectory(idOf(2));
    await followed.pass(31_000);
    expect(followed.state()).toMatchObject({ on: [], records: [] });
  });
});
