import { expect, test, vi } from 'vitest';
import { RefusedError } from '../../../src/errors.ts';
import { asPassed, GateBench, ok, post, withImage } from '../../support/gate-bench.ts';

/** Of a Podman that pulls it is asked every 10 s whether it answers. */
const PATIENCE = { timeout: 20_000, interval: 50 };

const OF_ALICE = 'a'.repeat(64);
const OTHER = 'b'.repeat(64);
const REFERENCE = 'registry.example/a:1';
const ASKED = { user: 'bob', reference: REFERENCE, query: 'reference=registry.example%2Fa%3A1&tlsVerify=true' };

/** A Podman with these images, by id or name, that pulls as told; notes what it is asked. */
async function start(options: { images?: readonly string[]; pull?: string; timeoutMs?: number } = {}) {
  const bench = new GateBench(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs });
  const asked: string[] = [];
  const seen: string[] = [];
  await bench.rawPodman((peer) => {
    // Each request comes in one piece; who only looks whether Podman is there sends none.
    peer.socket.once('data', () => {
      const [line = ''] = peer.text.split(' HTTP/1.1\r\n');
      asked.push(line);
      seen.push(peer.text);
      const [, image] = /images\/(.*)\/json$/.exec(line) ?? [];
      if (image) {
        const isThere = options.images?.includes(decodeURI(image));
        peer.socket.end(isThere ? ok(`{"Id":"${OF_ALICE}"}`) : ok('{}', '404 Not Found'));
      } else if (!line.includes('images/pull')) peer.socket.end(ok('{"Id":"c0ffee"}', '201 Created'));
      else if (options.pull !== undefined) peer.socket.end(`HTTP/1.1 200 OK\r\n\r\n${options.pull}`);
    });
  });
  await bench.open();
  return { bench, asked, seen };
}

const pulled = (id: string) => `{"stream":"Trying to pull…\\n"}\n{"images":["${id}"],"id":"${id}"}\n`;
const look = (name: string) => `GET /v1.0.0/libpod/images/${name}/json HTTP/1.1\r\nHost: u\r\n\r\n`;
const CREATE = 'POST /v1.0.0/libpod/containers/create';

test('what another user`s Podman has just pulled is pulled for this user, by its name and without the other`s credentials', async () => {
  const { bench, asked } = await start({ pull: pulled(OF_ALICE) });
  await using _ = bench;
  bench.images.has(OF_ALICE, ASKED);
  await bench.client().write(withImage(OF_ALICE)).sees('c0ffee');
  expect(asked).toEqual([
    `GET /v1.0.0/libpod/images/${OF_ALICE}/json`,
    `POST /v1.0.0/libpod/images/pull?${ASKED.query}`,
    CREATE,
  ]);
});

test.each([
  ['that this user has', { images: [OF_ALICE] }, OF_ALICE],
  ['that no gate has seen a pull of', {}, OTHER],
])('an image %s is taken as it is', async (_, options, id) => {
  const { bench, asked } = await start(options);
  await using __ = bench;
  bench.images.has(OF_ALICE, ASKED);
  await bench.client().write(withImage(id)).sees('c0ffee');
  expect(asked.filter((line) => line.includes('pull'))).toEqual([]);
  expect(asked.at(-1)).toBe(CREATE);
});

test('a pull through the gate is noted with the image that it brought', async () => {
  const { bench, asked } = await start({ pull: pulled(OTHER) });
  await using _ = bench;
  await bench
    .client()
    .write(post(`/v1.0.0/libpod/images/pull?${ASKED.query}`, ''))
    .seesEnd();
  bench.images.has(OF_ALICE, ASKED);
  // Her own pull is no reason to ask again.
  await bench.client().write(withImage(OTHER)).sees('c0ffee');
  expect(asked).toEqual([`POST /v1.0.0/libpod/images/pull?${ASKED.query}`, CREATE]);
});

test("a pull has the job's credentials, and that one's answer has the id alone", async () => {
  const { bench, seen } = await start({ pull: pulled(OTHER) });
  await using _ = bench;
  const request = post(`/v1.0.0/libpod/images/pull?${ASKED.query}`, '');
  const client = bench.client().write(request.replace('\r\n\r\n', '\r\nX-Registry-Auth: eyJ1IjoicCJ9\r\n\r\n'));
  await client.seesEnd();
  expect(client.text).toMatch(new RegExp(`^HTTP/1.1 200 OK\r\n.*\r\n\r\n\\{"id":"${OTHER}"\\}$`, 's'));
  expect(seen[0]).toMatch(/\r\nx-registry-auth: eyJ1IjoicCJ9\r\n/i);
});

test('a pull that Podman cannot do is no error of the pull, which would be the other users`, but of this user`s create', async () => {
  const { bench, asked } = await start({ pull: '{"error":"unauthorized: access to the resource is denied"}\n' });
  await using _ = bench;
  const client = bench.client().write(post(`/v1.0.0/libpod/images/pull?${ASKED.query}`, ''));
  await client.sees('"id":"');
  expect(client.text).toMatch(/^HTTP\/1\.1 200 OK/);
  const [, id = ''] = /"id":"([0-9a-f]{64})"/.exec(client.text) ?? [];
  await bench.client().write(withImage(id)).sees('cannot pull image registry.example/a:1 for user alice: unauthorized');
  expect(asked).toEqual([`POST /v1.0.0/libpod/images/pull?${ASKED.query}`]);
});

test('a pull at a Podman that hangs is given up once that one answers no ping', async () => {
  await using bench = new GateBench();
  await bench.rawPodman(() => undefined);
  await bench.open();
  const client = bench.client().write(post(`/v1.0.0/libpod/images/pull?${ASKED.query}`, ''));
  await vi.waitFor(() => expect(client.text).toMatch(/^HTTP\/1\.1 200 OK.*"id":"[0-9a-f]{64}"/s), PATIENCE);
});

test('a pull that failed for another user is done by this user`s own Podman', async () => {
  const { bench, asked } = await start({ pull: pulled(OF_ALICE) });
  await using _ = bench;
  const id = bench.images.placeholder(ASKED, new RefusedError('image_pull_failed', 'not for bob'));
  await bench.client().write(withImage(id)).sees('c0ffee');
  expect(asked.at(-2)).toBe(`POST /v1.0.0/libpod/images/pull?${ASKED.query}`);
});

test('what another user`s Podman says of an image that this user asked for is not taken for that image, also where this user has one of that id', async () => {
  const { bench, asked } = await start({ images: [OF_ALICE], pull: pulled(OTHER) });
  await using _ = bench;
  await bench.client().write(look(REFERENCE)).seesEnd();
  bench.images.has(OF_ALICE, ASKED);
  await bench.client().write(withImage(OF_ALICE)).sees('c0ffee');
  expect(asked.slice(-2)).toEqual([`POST /v1.0.0/libpod/images/pull?${ASKED.query}`, CREATE]);
});

test('an image that this user`s own Podman gave for a name is taken as it is, whatever another`s says of it', async () => {
  const { bench, asked } = await start({ images: [OF_ALICE, 'own:1'] });
  await using _ = bench;
  for (const name of [REFERENCE, 'own:1']) await bench.client().write(look(name)).seesEnd();
  bench.images.has(OF_ALICE, ASKED);
  await bench.client().write(withImage(OF_ALICE)).sees('c0ffee');
  expect(asked.filter((line) => line.includes('pull'))).toEqual([]);
});

test('an image that has changed between the two pulls is refused', async () => {
  const { bench, asked } = await start({ pull: pulled(OTHER) });
  await using _ = bench;
  bench.images.has(OF_ALICE, ASKED);
  const client = bench.client().write(withImage(OF_ALICE));
  await client.sees('"cause":"image_changed"');
  expect(asked).not.toContain(CREATE);
});

test('a pull that fails is told with what Podman says of it', async () => {
  const { bench } = await start({ pull: '{"error":"unauthorized: access to the resource is denied"}\n' });
  await using _ = bench;
  bench.images.has(OF_ALICE, ASKED);
  const client = bench.client().write(withImage(OF_ALICE));
  await client.sees('cannot pull image registry.example/a:1 for user alice: unauthorized');
});

test('a pull that takes longer than the hold is told, goes on, and is joined by the next start', async () => {
  const { bench, asked } = await start({ timeoutMs: 50 });
  await using _ = bench;
  bench.images.has(OF_ALICE, ASKED);
  for (let attempt = 0; attempt < 2; attempt++) {
    const client = bench.client().write(withImage(OF_ALICE));
    await client.sees('is still being pulled for user alice; start the task again in a moment');
  }
  expect(asked.filter((line) => line.includes('pull'))).toHaveLength(1);
});

test.each([
  ['has', [REFERENCE], undefined],
  ['pulls now', [], pulled(OF_ALICE)],
])(
  'an id that stood for an image while Podman was away becomes that of the image, which it %s',
  async (_, images, pull) => {
    const { bench, asked, seen } = await start({ images, ...(pull === undefined ? {} : { pull }) });
    await using __ = bench;
    const id = bench.images.placeholder({ ...ASKED, user: 'alice' });
    await bench.client().write(withImage(id)).sees('c0ffee');
    expect(asked.at(-1)).toBe(CREATE);
    expect(seen.at(-1)).toBe(asPassed(withImage(OF_ALICE)));
  },
);

test('whatever another user`s Podman says to have pulled, what stands for an image stays known', async () => {
  const { bench, asked } = await start({ pull: pulled(OTHER) });
  await using _ = bench;
  const placeholder = bench.images.placeholder({ ...ASKED, user: 'alice' });
  for (let index = 0; index < 2000; index++) {
    bench.images.has(index.toString(16).padStart(64, '0'), ASKED);
  }
  await bench.client().write(withImage(placeholder)).sees('c0ffee');
  expect(asked).toContain(`POST /v1.0.0/libpod/images/pull?${ASKED.query}`);
});

test('of what a pull says without an end no more is read than of any pull', async () => {
  const { bench, asked } = await start({ pull: '{}\n'.repeat(1024 * 1024) });
  await using _ = bench;
  bench.images.has(OF_ALICE, ASKED);
  const client = bench.client().write(withImage(OF_ALICE));
  await client.sees('expected an answer of at most');
  expect(asked).not.toContain(CREATE);
});
