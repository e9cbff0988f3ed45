import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { get as httpGet, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { requires } from '../support/requires.ts';
import { createSandbox, type Sandbox } from '../support/sandbox.ts';
import { type StandInNomad, type StandInOptions, startStandInNomad } from '../support/stand-in-nomad.ts';
import { until } from '../support/until.ts';

const UNKNOWN_ID = '00000000-0000-4000-8000-000000000000';

requires('root', 'sandbox')("the stand-in for Nomad's client", () => {
  let sandbox: Sandbox;
  let nomad: StandInNomad;

  const start = async (options: Partial<StandInOptions> = {}) => {
    nomad = await startStandInNomad({ dataDir: join(sandbox.directory, 'nomad'), sockets: {}, ...options });
  };
  const get = (path: string, token?: string) =>
    fetch(`${nomad.api.address}${path}`, token === undefined ? {} : { headers: { 'X-Nomad-Token': token } });
  const run = (script: string) => ({ name: 't', driver: 'raw_exec', command: '/bin/sh', args: ['-c', script] });

  beforeEach(async () => {
    sandbox = await createSandbox({ users: [] });
  });
  afterEach(async () => {
    await nomad.stop();
    await sandbox.dispose();
  });

  test('tells of an allocation by events, and replays them from an index on', async () => {
    await start();
    const stream = await openStream(`${nomad.api.address}/v1/event/stream?topic=Allocation&namespace=*`);
    await until('the first heartbeat', () => stream.lines()[0] === '{}');
    const allocation = nomad.runJob({ id: 'web', tasks: [run('true')] });
    await allocation.waitFor('complete');
    const last = await until('its last event', () => stream.events().find(({ status }) => status === 'complete'));
    expect(stream.events()[0]).toMatchObject({
      id: allocation.id,
      type: 'PlanResult',
      status: 'pending',
      job: undefined,
    });
    expect(last).toMatchObject({ id: allocation.id, type: 'AllocationUpdated' });

    const resumed = await openStream(`${nomad.api.address}/v1/event/stream?topic=Allocation&index=${last.index}`);
    await until('the replayed event', () => resumed.events().length > 0);
    expect(resumed.events().map(({ index }) => index)).toEqual([last.index]);
  });

  test("answers a blocking query once there is something new, and gives the node's allocations whole", async () => {
    await start();
    const path = `/v1/node/${nomad.nodeId}/allocations`;
    const first = await get(path);
    expect(await first.json()).toEqual([]);
    const blocked = get(`${path}?index=${first.headers.get('x-nomad-index')}&wait=60s`);
    const allocation = nomad.runJob({ id: 'web', meta: { podman_user: 'alice' }, tasks: [run('sleep 1000')] });
    const listed = await (await blocked).json();
    expect(listed).toMatchObject([{ ID: allocation.id, Job: { Meta: { podman_user: 'alice' } } }]);
  });

  test('answers for missing allocations and malformed ids as recorded, and forgets what is collected', async () => {
    await start();
    const answer = async (id: string) => {
      const response = await get(`/v1/allocation/${id}`);
      return [response.status, await response.text()];
    };
    expect(await answer(UNKNOWN_ID)).toEqual([404, 'alloc not found']);
    expect((await answer('nonsense'))[0]).toBe(500);
    const allocation = nomad.runJob({ id: 'web', tasks: [run('sleep 1000')] });
    expect((await answer(allocation.id))[0]).toBe(200);
    await allocation.gc();
    expect(await answer(allocation.id)).toEqual([404, 'alloc not found']);
  });

  test('refuses as Nomad does what a token lacks', async () => {
    await start({ tokens: { good: 'all', poor: 'without-read-job' } });
    const { id } = nomad.runJob({ id: 'web', tasks: [run('sleep 1000')] });
    const list = `/v1/node/${nomad.nodeId}/allocations`;
    expect(await (await get(list, 'good')).json()).toMatchObject([{ ID: id }]);
    expect(await (await get(list, 'poor')).json()).toEqual([]);
    expect((await get(list)).status).toBe(403);
    expect((await get(list, 'wrong')).status).toBe(403);
    const unknown = await get(`/v1/allocation/${id}`, 'poor');
    expect([unknown.status, await unknown.text()]).toEqual([500, `Unknown allocation "${id}"`]);
    expect((await get('/v1/agent/self', 'poor')).status).toBe(200);
  });

  test('fails where it is told to, and answers again when told so', async () => {
    await start();
    nomad.api.setFault('agent-self', { status: 500, text: 'no leader' });
    expect(await (await get('/v1/agent/self')).text()).toBe('no leader');
    nomad.api.setFault('agent-self', 'close');
    await expect(get('/v1/agent/self')).rejects.toThrow('fetch failed');
    nomad.api.setFault('agent-self');
    expect(await (await get('/v1/agent/self')).json()).toMatchObject({ config: { DataDir: nomad.dataDir } });
  });

  test('runs the tasks of a group in the order of their lifecycle', async () => {
    await start();
    const note = (name: string, then = '') => ({ ...run(`echo ${name} >>../alloc/order${then}`), name });
    const allocation = nomad.runJob({
      id: 'web',
      tasks: [
        { ...note('after'), lifecycle: { hook: 'poststop' } },
        { ...note('side', '; sleep 1000'), lifecycle: { hook: 'poststart', sidecar: true } },
        { ...note('main', '; sleep 1000') },
        { ...note('init'), lifecycle: { hook: 'prestart' } },
      ],
    });
    const order = () => readFileSync(join(allocation.directory, 'alloc/order'), 'utf8');
    await until('the poststart task has run', () => order() === 'init\nmain\nside\n');
    await allocation.stop();
    expect(order()).toBe('init\nmain\nside\nafter\n');
    expect(allocation.status).toBe('complete');
  });
});

interface Seen {
  readonly index: number;
  readonly type: string;
  readonly id: string;
  readonly status: string;
  readonly job: unknown;
}

/** Reads an event stream line by line until the server ends it. */
async function openStream(url: string): Promise<{ lines: () => string[]; events: () => Seen[] }> {
  const outgoing = httpGet(url);
  const [response]: IncomingMessage[] = await once(outgoing, 'response');
  if (!response) throw new Error('no response');
  response.on('error', () => undefined); // the server cuts it when it stops
  let text = '';
  response.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const lines = () => text.split('\n').slice(0, -1);
  const events = () =>
    lines().flatMap((line) => {
      const streamed: { Index: number; Events?: { Type: string; Payload: { Allocation: Record<string, string> } }[] } =
        JSON.parse(line);
      return (streamed.Events ?? []).map(({ Type, Payload: { Allocation } }) => ({
        index: streamed.Index,
        type: Type,
        id: Allocation['ID'] ?? '',
        status: Allocation['ClientStatus'] ?? '',
        job: Allocation['Job'],
      }));
    });
  return { lines, events };
}
