import { expect, test } from 'vitest';
import { GateBench, ID, ok, post } from '../../support/gate-bench.ts';

const OTHER = '11111111-2222-3333-4444-555555555555';
const OWN_ID = 'a'.repeat(64);
const OTHERS_ID = 'b'.repeat(64);

/** A Podman with a container of this allocation and one of another. */
const NAMES: Readonly<Record<string, string>> = { [OWN_ID]: `main-${ID}`, [OTHERS_ID]: `main-${OTHER}`, mine: 'mine' };

/** What is answered to a create with these fields, and what Podman was asked. @param hangUps how often it hangs up first */
async function answerTo(fields: object, hangUps = 0) {
  await using bench = new GateBench();
  const asked: string[] = [];
  await bench.rawPodman((peer) =>
    peer.socket.once('data', () => {
      const [line = ''] = peer.text.split(' HTTP/1.1\r\n');
      asked.push(line);
      if (asked.length <= hangUps) return peer.socket.destroy();
      const [, container = ''] = /^GET .*\/containers\/(.*)\/json$/.exec(line) ?? [];
      const name = Object.entries(NAMES).find(([id]) => id === container || id.startsWith(container))?.[1];
      if (line.startsWith('POST')) peer.socket.end(ok('{"Id":"c0ffee"}', '201 Created'));
      else peer.socket.end(name ? ok(JSON.stringify({ Name: name })) : ok('{}', '404 Not Found'));
    }),
  );
  await bench.open();
  const mounts = [{ type: 'bind', source: `/var/lib/nomad/alloc/${ID}/alloc` }];
  const client = bench
    .client()
    .write(post('/v1.0.0/libpod/containers/create', JSON.stringify({ name: `t-${ID}`, mounts, ...fields })));
  await client.seesEnd();
  const [, json = ''] = client.text.split('\r\n\r\n');
  const answer: { Id?: string; cause?: string; message?: string } = JSON.parse(json);
  return { verdict: answer.Id ? 'passed' : answer.cause, message: answer.message, asked };
}

test.each(['netns', 'ipcns', 'pidns', 'utsns', 'userns', 'cgroupns'])(
  'a create joins the %s of its own allocation alone',
  async (field) => {
    const joined = (value: string) => answerTo({ [field]: { nsmode: 'container', value } });
    expect((await joined(`main-${ID}`)).verdict).toBe('passed');
    expect((await joined(OWN_ID.slice(0, 12))).verdict).toBe('passed');
    for (const value of [`main-${OTHER}`, OTHERS_ID, 'mine', 'nobody', '', '../x', ID]) {
      expect(await joined(value)).toMatchObject({ verdict: 'foreign_container' });
    }
  },
);

test('a create depends on containers of its own allocation alone', async () => {
  expect((await answerTo({ dependencyContainers: [`main-${ID}`] })).verdict).toBe('passed');
  expect((await answerTo({ dependencyContainers: [`main-${ID}`, OTHERS_ID] })).verdict).toBe('foreign_container');
});

test('a container of another allocation is refused before anything is done for the allocation, by its name', async () => {
  const { message, asked } = await answerTo({ ipcns: { nsmode: 'container', value: OTHERS_ID } });
  expect(message).toBe(
    `nomad-rootless: ipcns is container "${OTHERS_ID}", which is "main-${OTHER}", and not one of allocation ${ID}; a task can join those of its own allocation alone: network_mode or ipc_mode = "task:<name>", or "container:<task>-\${NOMAD_ALLOC_ID}"`,
  );
  expect(asked).toEqual([`GET /v1.0.0/libpod/containers/${OTHERS_ID}/json`]);
});

test('a Podman that hangs up when it is asked for a container is asked again', async () => {
  const { verdict } = await answerTo({ ipcns: { nsmode: 'container', value: OWN_ID } }, 3);
  expect(verdict).toBe('passed');
});

test('a container of the own allocation is known by its name, and Podman is not asked', async () => {
  const { asked } = await answerTo({ netns: { nsmode: 'container', value: `main-${ID}` } });
  expect(asked).toEqual(['POST /v1.0.0/libpod/containers/create']);
});
