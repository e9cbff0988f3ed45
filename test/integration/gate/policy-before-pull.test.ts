import { expect, test, vi } from 'vitest';
import { NotYetError, RefusedError } from '../../../src/errors.ts';
import { createRequest, GateBench, ID, OWN_UID, ok, post, WAIT, withImage } from '../../support/gate-bench.ts';

const OTHER_ID = '99999999-6ff3-0022-b7ba-b606572ea818';
const IMAGE = 'a'.repeat(64);
const REFERENCE = 'registry.example/a:1';
const LOOK = `GET /v1.0.0/libpod/images/${REFERENCE}/json HTTP/1.1\r\nHost: u\r\n\r\n`;
const PULL = post(`/v1.0.0/libpod/images/pull?reference=${encodeURIComponent(REFERENCE)}&tlsVerify=true`, '');
const LOAD = post('/v1.0.0/libpod/images/load', 'x');
const REASON = 'the policy of this node does not let job j run as alice';

/** How the driver begins to start a task. */
const inspect = (id = ID, task = 't') => `GET /v1.0.0/libpod/containers/${task}-${id}/json HTTP/1.1\r\nHost: u\r\n\r\n`;

/** A Podman that has one image and no container, and notes what it is asked. */
async function start(options: ConstructorParameters<typeof GateBench>[0] = {}) {
  const bench = new GateBench(options);
  const asked: string[] = [];
  await bench.rawPodman((peer) => {
    peer.socket.once('data', () => {
      const [line = ''] = peer.text.split(' HTTP/1.1\r\n');
      asked.push(line);
      if (line.includes('/containers/create')) peer.socket.end(ok('{"Id":"c0ffee"}', '201 Created'));
      else if (line.includes('/containers/')) peer.socket.end(ok('{}', '404 Not Found'));
      else if (line.includes('/pull')) peer.socket.end(ok(`{"id":"${IMAGE}"}\n`));
      else peer.socket.end(ok(`{"Id":"${IMAGE}"}`));
    });
  });
  await bench.open();
  const images = () => asked.filter((line) => line.includes('/images/'));
  const begin = (id?: string, task?: string) => bench.client().write(inspect(id, task)).sees('404 Not Found');
  return { bench, asked, images, begin };
}

function refuse(bench: GateBench, ...ids: string[]): void {
  bench.readiness.decide = async ({ allocationId }) => {
    if (ids.includes(allocationId)) throw new RefusedError('not_in_policy', REASON);
  };
  bench.readiness.answer = bench.readiness.decide;
}

test.each([
  ['looked for', LOOK, 'Id'],
  ['pulled', PULL, 'id'],
])('of a task that may not run no image is %s, and its create says why', async (_, request, key) => {
  const { bench, images, begin } = await start();
  await using __ = bench;
  refuse(bench, ID);
  await begin();
  const client = bench.client().write(request);
  await client.sees(`"${key}":"`);
  expect(client.text).toMatch(/^HTTP\/1\.1 200 OK/);
  const [, placeholder = ''] = /"[Ii]d":"([0-9a-f]{64})"/.exec(client.text) ?? [];
  expect(placeholder).not.toBe(IMAGE);
  await bench.client().write(withImage(placeholder)).sees(`nomad-rootless: ${REASON}`);
  expect(images()).toEqual([]);
  expect(bench.refusals).toEqual([{ allocationId: ID, task: 't', code: 'not_in_policy', reason: REASON }]);
});

test('an image archive for a task that may not run is refused for that', async () => {
  const { bench, begin } = await start();
  await using _ = bench;
  refuse(bench, ID);
  await begin();
  await bench.client().write(LOAD).sees(`nomad-rootless: ${REASON}`);
});

test('it is asked whether this very task may run as the user of the gate', async () => {
  const { bench, begin } = await start();
  await using _ = bench;
  const decided: unknown[] = [];
  bench.readiness.decide = async (one) => void decided.push(one);
  await begin(ID, 'a-b');
  await bench.client().write(LOOK).sees(IMAGE);
  expect(decided).toEqual([{ allocationId: ID, task: 'a-b', uid: OWN_UID }]);
});

test.each([LOOK, PULL])('while one that may run starts beside it, images are asked for: %s', async (request) => {
  const { bench, begin } = await start();
  await using _ = bench;
  refuse(bench, ID);
  await begin();
  await begin(OTHER_ID);
  await bench.client().write(request).sees(IMAGE);
});

test('once the other one has its create, images are asked for no more', async () => {
  const { bench, images, begin } = await start();
  await using _ = bench;
  refuse(bench, ID);
  await begin();
  await begin(OTHER_ID);
  await bench.client().write(createRequest(OTHER_ID)).sees('c0ffee');
  await bench.client().write(LOOK).sees('"Id":"');
  expect(images()).toEqual([]);
});

test('where nothing is known to start, as after a restart of the agent, images are asked for', async () => {
  const { bench, begin } = await start();
  await using _ = bench;
  refuse(bench, ID);
  await bench.client().write(LOOK).sees(IMAGE);
  await begin();
  await bench.client().write(createRequest()).sees(REASON);
  await bench.client().write(LOOK).sees(IMAGE);
});

test('a look at a container by its id, as when tasks are taken up, begins no start', async () => {
  const { bench } = await start();
  await using _ = bench;
  refuse(bench, ID);
  await bench.client().write(`GET /v1.0.0/libpod/containers/${IMAGE}/json HTTP/1.1\r\nHost: u\r\n\r\n`).sees('404');
  await bench.client().write(LOOK).sees(IMAGE);
});

test('while it is not known whether the task may run its image waits', async () => {
  const { bench, images, begin } = await start();
  await using _ = bench;
  const { promise, resolve } = Promise.withResolvers<void>();
  bench.readiness.decide = () => promise;
  await begin();
  const client = bench.client().write(LOOK);
  // Another client gets through meanwhile, so the gate had its chance to let the look slip.
  await bench.client().write('GET /libpod/version HTTP/1.1\r\n\r\n').sees(IMAGE);
  expect([client.text, images()]).toEqual(['', []]);
  resolve();
  await client.sees(IMAGE);
});

test('of one of which that is not known in time the create is asked, which then finds the image', async () => {
  const { bench, images, begin } = await start({ timeoutMs: 50 });
  await using _ = bench;
  bench.readiness.decide = (_start, signal) =>
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(new NotYetError('x', 'x'))));
  await begin();
  const client = bench.client().write(LOOK);
  await client.sees('"Id":"');
  const [, placeholder = ''] = /"Id":"([0-9a-f]{64})"/.exec(client.text) ?? [];
  expect([placeholder === IMAGE, images()]).toEqual([false, []]);
  await bench.client().write(withImage(placeholder)).sees('c0ffee');
  expect(images()).toEqual([`GET /v1.0.0/libpod/images/${REFERENCE}/json`]);
});

test('of one of which that is not known at a Podman that was waited for in vain nothing is waited for again', async () => {
  const { bench, images, begin } = await start();
  await using _ = bench;
  bench.readiness.decide = () => new Promise(() => undefined);
  await begin();
  bench.podman.giveUp();
  await bench.client().write(LOOK).sees('"Id":"');
  expect(images()).toEqual([]);
});

test('a client that leaves while its image waits abandons it', async () => {
  const { bench, images, begin } = await start();
  await using _ = bench;
  bench.readiness.decide = () => new Promise(() => undefined);
  await begin();
  const client = bench.client().write(PULL);
  await bench.client().write('GET /libpod/version HTTP/1.1\r\n\r\n').sees(IMAGE);
  client.socket.destroy();
  await vi.waitFor(async () => expect((await bench.verdicts()).abandoned).toBe(1), WAIT);
  expect(images()).toEqual([]);
});
