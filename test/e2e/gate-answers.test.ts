import { afterAll, beforeAll, expect, test } from 'vitest';
import { GateBench } from '../support/gate-bench.ts';
import { requires } from '../support/requires.ts';
import { createSandbox, IMAGE, type Sandbox } from '../support/sandbox.ts';

const RUN = ['run', '--detach', '--network=none', '--log-driver=k8s-file', '--name=x', IMAGE, 'sh', '-c'];
const SCRIPT = 'echo out; echo err >&2; head -c 100000 /dev/zero | tr "\\0" x; echo; sleep 1; echo last';

requires(
  'root',
  'sandbox',
  'podman',
)('the gate before a real Podman', () => {
  let sandbox: Sandbox;
  let bench: GateBench;

  beforeAll(async () => {
    sandbox = await createSandbox({ users: ['alice'] });
    bench = new GateBench();
    const { name, uid, gid, home, socket } = sandbox.user('alice');
    bench.podman.setUser({ name, uid, gid, home, socket });
    await bench.open();
    await sandbox.user('alice').podman([...RUN, SCRIPT]);
  });
  afterAll(async () => {
    await bench?.[Symbol.asyncDispose]();
    await sandbox?.dispose();
  });

  async function answerTo(target: string): Promise<Buffer> {
    const client = bench.client().write(`GET /v1.0.0/libpod/${target} HTTP/1.1\r\nHost: u\r\n\r\n`);
    await client.seesEnd();
    expect(client.text).toMatch(/^HTTP\/1.1 20/);
    return client.received.subarray(client.text.indexOf('\r\n\r\n') + 4);
  }

  test('passes the log of a container whole, until it ends', async () => {
    const log = await answerTo('containers/x/logs?follow=true&stdout=true&stderr=true');
    const text = { 1: '', 2: '' };
    for (let at = 0; at < log.length; ) {
      const [channel, length] = [log.readUInt8(at), log.readUInt32BE(at + 4)];
      text[channel === 2 ? 2 : 1] += log.toString('utf8', at + 8, at + 8 + length);
      at += 8 + length;
    }
    expect(text).toEqual({ 1: `out\n${'x'.repeat(100_000)}\nlast\n`, 2: 'err\n' });
  });

  test.each([`images/${IMAGE}/json`, 'containers/x/json', 'containers/json?all=true', 'version', 'images/json'])(
    'passes %s whole',
    async (target) => {
      const answer = (await answerTo(target)).toString('utf8');
      // Of a chunked answer the sizes of its chunks are left.
      expect(() => JSON.parse(answer.replace(/^[0-9a-f]+\r\n|\r\n0\r\n\r\n$/g, ''))).not.toThrow();
    },
  );
});
