import { renameSync, writeFileSync } from 'node:fs';
import { describe, expect, onTestFinished, test } from 'vitest';
import { eventLines, NODE_ID } from '../../support/nomad-fixture.ts';
import { PlayedFollower, PlayedNomad } from './played-nomad.ts';

const READ_JOB = 'namespace "*" { capabilities = ["read-job"] }';
const ENDPOINTS = ['agent-self', 'allocation', 'node-allocations', 'event-stream'] as const;
const recordedStream = Buffer.from(`${eventLines().join('\n')}\n`);

async function startNomad(...parts: ConstructorParameters<typeof PlayedNomad>): Promise<PlayedNomad> {
  const nomad = new PlayedNomad(...parts);
  onTestFinished(() => nomad[Symbol.asyncDispose]());
  await nomad.api.start();
  return nomad;
}

function follow(nomad: PlayedNomad, withToken = false): PlayedFollower {
  const followed = new PlayedFollower(nomad, withToken);
  onTestFinished(() => followed[Symbol.asyncDispose]());
  return followed;
}

/** What a follower makes of this Nomad that has just begun. */
async function cleanState(nomad: PlayedNomad, withToken = false) {
  await using fresh = new PlayedFollower(nomad, withToken);
  await fresh.eventually(() => expect(fresh.state().reasons).toEqual([]));
  await fresh.pass(3000);
  // Its steps of the clock take a few milliseconds, whatever a busy machine has done by then.
  await fresh.eventually(() => expect(fresh.state().records.join()).not.toContain(' preparing '));
  return fresh.state();
}

interface Play {
  readonly nomad: PlayedNomad;
  readonly followed: PlayedFollower;
  /** Places, ends and purges allocations, in another namespace too. */
  readonly change: () => void;
}

/** A line of many events: of the recorded ones, all of the other nodes or some of this one, and of a size in MiB. */
function longLine(mebibytes: number, nodeId: string): Buffer {
  const one = eventLines().find((line) => line.includes('"Topic":"Allocation"')) ?? '';
  const events = one.slice('{"Events":['.length, one.lastIndexOf('],"Index"')).replaceAll(NODE_ID, nodeId);
  const count = Math.ceil((mebibytes * 2 ** 20) / events.length);
  return Buffer.from(`{"Events":[${Array(count).fill(events).join(',')}],"Index":130}\n`);
}

const OTHER_NODE = '35ef367e-8026-c171-16fa-c405e00b640b';

const troubles: [string, (play: Play) => Promise<void>][] = [
  [
    'a connection that breaks in the middle of a line',
    async ({ nomad, change }) => {
      await nomad.api.feed(recordedStream.subarray(0, 100_000));
      change();
      nomad.api.cutConnections();
    },
  ],
  [
    'a heartbeat that stops, and the events with it',
    async ({ nomad, change }) => {
      nomad.api.muteStreams();
      change();
    },
  ],
  [
    'events that come twice, backwards and of allocations that are long gone',
    async ({ nomad, change }) => {
      change();
      await nomad.api.feed(
        Buffer.from(
          eventLines()
            .toReversed()
            .flatMap((line) => [line, line, ''])
            .join('\n'),
        ),
      );
    },
  ],
  [
    'garbage between the lines',
    async ({ nomad, change }) => {
      for (const line of ['', 'upstream connect error', '{"Events":', `{"${NODE_ID}`, '\u0000\u0001', '[]', 'null']) {
        await nomad.api.feed(Buffer.from(`${line}\n`));
        change();
      }
    },
  ],
  [
    'lines of several megabytes, ours and not',
    async ({ nomad, change }) => {
      for (const nodeId of [OTHER_NODE, NODE_ID]) {
        await nomad.api.feed(longLine(5, nodeId));
        change();
      }
    },
  ],
  [
    'a line that is longer than any that is taken',
    async ({ nomad, change }) => {
      await nomad.api.feed(longLine(33, NODE_ID));
      change();
    },
  ],
  [
    'servers without a leader',
    async ({ nomad, followed, change }) => {
      for (const endpoint of ENDPOINTS) nomad.api.setFault(endpoint, { status: 500, text: 'No cluster leader' });
      nomad.api.cutConnections();
      change();
      await followed.pass(60_000);
      for (const endpoint of ENDPOINTS) nomad.api.setFault(endpoint);
    },
  ],
  [
    'answers that break off',
    async ({ nomad, followed, change }) => {
      for (const endpoint of ENDPOINTS) nomad.api.setFault(endpoint, 'close');
      nomad.api.cutConnections();
      change();
      await followed.pass(20_000);
      for (const endpoint of ENDPOINTS) nomad.api.setFault(endpoint);
    },
  ],
  [
    'a Nomad agent that is down for an hour',
    async ({ nomad, followed, change }) => {
      await nomad.api.stop();
      change();
      await followed.pass(3_600_000, 10_000);
      await nomad.api.start();
    },
  ],
  [
    'servers that were restored from an older snapshot',
    async ({ nomad, followed, change }) => {
      const snapshot = nomad.state.snapshot();
      const later = nomad.place();
      change();
      await followed.eventually(() => expect(followed.state().on).toContain(later));
      nomad.state.restore(snapshot);
      nomad.api.muteStreams();
      await followed.pass(120_000);
      // Its tasks go on for as long as its directory is there.
      expect(followed.state().on).toContain(later);
      for (const id of nomad.directories()) if (!nomad.state.allocation(id)) nomad.removeDirectory(id);
    },
  ],
  [
    'a restore after which the servers have come further than before',
    async ({ nomad, change }) => {
      const snapshot = nomad.state.snapshot();
      change();
      nomad.state.restore(snapshot);
      for (const id of nomad.directories()) if (!nomad.state.allocation(id)) nomad.removeDirectory(id);
      for (let times = 0; times < 3; times++) change();
    },
  ],
];

describe('what happens meanwhile is there afterwards as if nothing had been, in spite of', () => {
  test.each(troubles)('%s', async (_, trouble) => {
    const nomad = await startNomad();
    const followed = follow(nomad);
    const placed = [nomad.place(), nomad.place(), nomad.place()];
    await followed.eventually(() => expect(followed.state().on).toEqual(placed.toSorted()));
    await nomad.api.feed(recordedStream);
    let number = 0;
    const change = () => {
      placed.push(nomad.place(), nomad.place({ namespace: `ns/${number++} "x"` }));
      const [ends, goes] = placed.splice(0, 2);
      if (ends) nomad.finish(ends);
      if (goes && nomad.directories().has(goes)) nomad.purge(goes);
    };
    await trouble({ nomad, followed, change });
    const clean = await cleanState(nomad);
    expect(clean.on.length).toBeGreaterThan(0);
    await followed.eventually(() => expect(followed.state()).toEqual(clean));
  });

  test('the alloc dir that is gone for a moment', async () => {
    const nomad = await startNomad();
    const followed = follow(nomad);
    const id = nomad.place();
    await followed.eventually(() => expect(followed.state()).toMatchObject({ on: [id], reasons: [] }));
    renameSync(nomad.allocDir, `${nomad.allocDir}.away`);
    await followed.pass(2000);
    renameSync(`${nomad.allocDir}.away`, nomad.allocDir);
    await followed.pass(2000);
    expect(followed.state()).toMatchObject({ on: [id], reasons: [] });
  });
});

describe('a token', () => {
  const tokens = { good: 'all', poor: 'without-read-job' } as const;

  function giveToken(nomad: PlayedNomad, token: string): void {
    writeFileSync(`${nomad.tokenFile}.new`, `${token}\n`);
    renameSync(`${nomad.tokenFile}.new`, nomad.tokenFile);
  }

  /** Nomad with an allocation that is known here, by a token that may do all. */
  async function startWithToken() {
    const nomad = await startNomad({ tokens });
    giveToken(nomad, 'good');
    const id = nomad.place();
    const followed = follow(nomad, true);
    await followed.eventually(() => expect(followed.state()).toMatchObject({ on: [id], reasons: [] }));
    return { nomad, followed, id };
  }

  test.each([
    ['without read-job', 'poor', [/not one line.*read-job/, /does not show one allocation.*read-job/]],
    ['that does not exist', 'unknown', [/agent { policy = "read" }/]],
  ])('%s is told of with the right that it lacks, and what is on the host stays', async (_, token, problems) => {
    const nomad = await startNomad({ tokens });
    giveToken(nomad, token);
    const id = nomad.place();
    const followed = follow(nomad, true);
    followed.host.on.set(id, [1001]);
    const expected = problems.map((problem) => expect.stringMatching(problem));
    await followed.eventually(() => expect(followed.state().reasons).toEqual(expected));
    await followed.pass(600_000, 2000);
    expect([...followed.host.on.keys()]).toEqual([id]);
    giveToken(nomad, 'good');
    await followed.eventually(() => expect(followed.state()).toMatchObject({ on: [id], reasons: [] }));
  });

  test.each([
    ['loses read-job', 'without-read-job', [READ_JOB, READ_JOB]],
    ['is deleted', undefined, [READ_JOB, 'node { policy = "read" }']],
  ] as const)('that %s in mid-stream is told of, and what is known goes on', async (_, rights, named) => {
    const { nomad, followed, id } = await startWithToken();
    nomad.api.setRights('good', rights);
    const expected = named.map((right) => expect.stringContaining(right));
    await followed.eventually(() => expect(followed.state().reasons).toEqual(expect.arrayContaining(expected)));
    await followed.pass(600_000, 2000);
    expect(followed.state()).toMatchObject({ on: [id] });
    const never = new AbortController().signal;
    await followed.follower.ready(
      { allocationId: id, task: 't', uid: 1001, joinsNetns: false, mounts: [], volumes: [] },
      never,
    );
    nomad.api.setRights('good', 'all');
    await followed.eventually(() => expect(followed.state()).toMatchObject({ on: [id], reasons: [] }));
  });

  test('that expires is told of although the stream goes on with its heartbeats', async () => {
    const { nomad, followed, id } = await startWithToken();
    nomad.api.setRights('good', 'expired');
    const problems = [READ_JOB, 'node { policy = "read" }'].map((right) => expect.stringContaining(right));
    await followed.eventually(() => expect(followed.state().reasons).toEqual(expect.arrayContaining(problems)));
    expect(followed.state().on).toEqual([id]);
  });

  test('that is renewed in its file before it expires is never missed', async () => {
    const { nomad, followed, id } = await startWithToken();
    nomad.api.setRights('better', 'all');
    giveToken(nomad, 'better');
    await followed.pass(600_000, 2000);
    nomad.api.setRights('good', undefined);
    const next = nomad.place();
    await followed.eventually(() => expect(followed.state().on).toEqual([id, next].toSorted()));
    await followed.pass(600_000, 2000);
    expect(followed.state().reasons).toEqual([]);
    expect(followed.log.lines.filter(({ level }) => level === 'warn')).toEqual([]);
  });
});

describe('the node', () => {
  test('is the one that the agent became when its data dir was wiped', async () => {
    const nomad = await startNomad();
    const followed = follow(nomad);
    const before = nomad.place();
    await followed.eventually(() => expect(followed.state().on).toEqual([before]));
    nomad.agent.stats.client.node_id = OTHER_NODE;
    nomad.node.ID = OTHER_NODE;
    nomad.removeDirectory(before);
    const after = nomad.place({ nodeId: OTHER_NODE });
    nomad.api.cutConnections();
    await followed.eventually(() => expect(followed.state()).toMatchObject({ on: [after], reasons: [] }));
    expect(followed.follower.self?.nodeId).toBe(OTHER_NODE);
  });

  test('is none where the agent is a server alone, which is said until it is a client', async () => {
    const nomad = await startNomad();
    const { client } = nomad.agent.stats;
    Reflect.deleteProperty(nomad.agent.stats, 'client');
    const followed = follow(nomad);
    await followed.eventually(() =>
      expect(followed.state().reasons).toEqual([expect.stringContaining('runs no client: set nomad.address')]),
    );
    nomad.agent.stats.client = client;
    await followed.eventually(() => expect(followed.state().reasons).toEqual([]));
  });

  test('is not followed where the agent is that of another machine, and nothing is taken away', async () => {
    const nomad = await startNomad();
    nomad.writeClientId(OTHER_NODE);
    const followed = follow(nomad);
    const id = nomad.place();
    followed.host.on.set(id, [1001]);
    const problem = expect.stringContaining(`this machine is node ${OTHER_NODE}: set nomad.address`);
    await followed.eventually(() => expect(followed.state().reasons).toEqual([problem]));
    await followed.pass(60_000);
    expect(followed.state()).toEqual({ on: [id], records: [], reasons: [problem] });
    nomad.writeClientId(NODE_ID);
    await followed.eventually(() => expect(followed.state()).toMatchObject({ on: [id], reasons: [] }));
  });
});
