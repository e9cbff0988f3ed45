import { expect, test, vi } from 'vitest';
import { NotYetError, RefusedError } from '../../../src/errors.ts';
import { asPassed, createRequest, GateBench, ID, OWN_UID, ok, post, WAIT } from '../../support/gate-bench.ts';

const CONTAINER = 'c'.repeat(64);
const START = post(`/v1.0.0/libpod/containers/${CONTAINER}/start`, '');
const ASKED = `GET /v1.0.0/libpod/containers/${CONTAINER}/json`;
const STARTED = `POST /v1.0.0/libpod/containers/${CONTAINER}/start`;
const ALLOC = `/var/lib/nomad/alloc/${ID}`;

/** What Podman says of a container that the driver created before a reboot. */
const OF_TASK = {
  Name: `t-${ID}`,
  Mounts: [
    { Type: 'bind', Source: `${ALLOC}/alloc`, RW: true },
    { Type: 'bind', Source: `${ALLOC}/t/secrets`, RW: true },
    { Type: 'volume', Source: '/home/alice/.local/share/containers/storage/volumes/v/_data', RW: true },
  ],
  HostConfig: { NetworkMode: `ns:/var/run/netns/${ID}` },
};

/** A Podman that has one container; notes what it is asked. */
async function start(inspected: object | undefined, changes: ConstructorParameters<typeof GateBench>[0] = {}) {
  const bench = new GateBench(changes);
  const asked: string[] = [];
  const seen: string[] = [];
  await bench.rawPodman((peer) => {
    // Each request comes in one piece; who only looks whether Podman is there sends none.
    peer.socket.once('data', () => {
      const [line = ''] = peer.text.split(' HTTP/1.1\r\n');
      asked.push(line);
      seen.push(peer.text);
      if (line === ASKED) peer.socket.end(inspected ? ok(JSON.stringify(inspected)) : ok('{}', '404 Not Found'));
      else if (line.endsWith('/create')) peer.socket.end(ok(`{"Id":"${CONTAINER}"}`, '201 Created'));
      else peer.socket.end(ok('', '204 No Content'));
    });
  });
  await bench.open();
  return { bench, asked, seen };
}

test('the start of a container from before is held until its allocation is ready', async () => {
  const { bench, asked, seen } = await start(OF_TASK);
  await using _ = bench;
  const release = bench.readiness.hold();
  const client = bench.client().write(START);
  await vi.waitFor(() => expect(bench.readiness.asked).toHaveLength(1), WAIT);
  expect(bench.readiness.asked).toEqual([
    { allocationId: ID, task: 't', uid: OWN_UID, joinsNetns: true, mounts: ['alloc', 't/secrets'], volumes: [] },
  ]);
  expect(await bench.held()).toBe(1);
  // Another client gets through meanwhile, so the gate had its chance to let the start slip.
  await bench.client().write('GET /libpod/version HTTP/1.1\r\n\r\n').sees('204');
  expect(asked).not.toContain(STARTED);
  expect(client.text).toBe('');
  release();
  await client.sees('204 No Content');
  expect(seen.at(-1)).toBe(asPassed(START));
  expect(await bench.held()).toBe(0);
});

test.each([
  ['that is named as no task`s is', { ...OF_TASK, Name: 'her-own' }],
  ['that mounts nothing of an allocation', { ...OF_TASK, Mounts: [], HostConfig: { NetworkMode: 'slirp4netns' } }],
  ['that Podman does not have', undefined],
])('the start of a container %s passes at once', async (_, inspected) => {
  const { bench, asked } = await start(inspected);
  await using __ = bench;
  await bench.client().write(START).sees('204 No Content');
  expect(asked).toEqual(expect.arrayContaining([STARTED]));
  expect(bench.readiness.asked).toEqual([]);
});

test('nobody is asked about a container whose create has just passed, but about its next start', async () => {
  const { bench, asked } = await start(OF_TASK);
  await using _ = bench;
  await bench.client().write(createRequest()).sees('201 Created');
  await bench.client().write(START).sees('204 No Content');
  expect(asked).not.toContain(ASKED);
  expect(bench.readiness.asked).toHaveLength(1);
  await bench.client().write(START).sees('204 No Content');
  expect(asked.slice(-2)).toEqual([ASKED, STARTED]);
  expect(bench.readiness.asked).toHaveLength(2);
});

test('the start of a container from before whose allocation is refused is refused, with the reason', async () => {
  const { bench, asked } = await start(OF_TASK);
  await using _ = bench;
  bench.readiness.answer = async () => {
    throw new RefusedError('unknown_user', 'there is no such user');
  };
  await bench.client().write(START).sees('nomad-rootless: there is no such user');
  expect(asked).not.toContain(STARTED);
  expect(await bench.verdicts()).toEqual({ refused: 1 });
});

test('the start of a container from before whose allocation does not get ready is answered with what it waited for', async () => {
  const { bench, asked } = await start(OF_TASK, { timeoutMs: 100 });
  await using _ = bench;
  bench.readiness.answer = (_request, signal) =>
    new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(new NotYetError('not_mounted', 'the view is not there')));
    });
  const client = bench.client().write(START);
  await client.sees('"response":504');
  expect(client.text).toContain(`allocation ${ID} was not ready for user alice within 0.1 s (the view is not there)`);
  expect(asked).not.toContain(STARTED);
});
