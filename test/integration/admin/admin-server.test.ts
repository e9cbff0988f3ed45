import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AdminServer } from '../../../src/agent/admin-server.ts';
import { fetchExplanation, fetchStatus } from '../../../src/cli/admin-client.ts';
import { NotYetError } from '../../../src/errors.ts';
import { ServiceManager } from '../../../src/linux/service-manager.ts';
import { createLog } from '../../../src/log.ts';
import type { Explanation } from '../../../src/model/explanation.ts';
import type { AgentStatus } from '../../../src/model/status.ts';
import { AGENT_STATUS } from '../../support/agent-status.ts';
import { until } from '../../support/until.ts';

const log = createLog({ level: 'silent', format: 'json' });
const status: AgentStatus = { ...AGENT_STATUS, startedAt: 1, nomad: { connected: true, lastListing: 2 } };
const ID = '11111111-2222-3333-4444-555555555555';
const explanation: Explanation = {
  id: ID,
  namespace: 'default',
  jobId: 'web',
  taskGroup: 'front',
  metaKey: 'podman_user',
  verdict: 'refused',
  refusal: { code: 'not_in_policy', reason: 'the policy does not let it' },
  notApplied: [],
  tasks: [
    {
      name: 't',
      driver: 'podman',
      meta: [{ level: 'job', value: 'alice' }],
      user: { name: 'alice', uid: 1001 },
      policy: { entry: { place: 2, namespace: 'team-*', jobs: '*' } },
      volumes: [{ name: 'v', type: 'host', source: 'data', readOnly: true, path: '/data' }],
    },
  ],
  parts: [{ kind: 'acl', state: 'missing', what: ['an entry'] }],
};
const ANSWERS = {
  status: () => status,
  explain: async (id: string) => (id === ID ? explanation : undefined),
  log,
  manager: new ServiceManager({}),
};

let directory: string;
let socketPath: string;
let servers: AdminServer[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'nomad-rootless-admin-'));
  socketPath = join(directory, 'run', 'admin.sock');
  servers = [];
});
afterEach(async () => {
  await Promise.all(servers.map((server) => server.close()));
  rmSync(directory, { recursive: true });
});

async function serve(parts: Partial<ConstructorParameters<typeof AdminServer>[0]> = {}): Promise<AdminServer> {
  const server = new AdminServer({ socketPath, ...ANSWERS, ...parts });
  await server.listen();
  servers.push(server);
  return server;
}

function ask(path: string, method = 'GET'): Promise<{ status: number | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, path, method }, async (response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk);
      resolve({ status: response.statusCode, body: Buffer.concat(chunks).toString() });
    });
    call.once('error', reject).end();
  });
}

/** Leaves a socket file that nobody listens on, as a killed agent does. */
async function leaveDeadSocket(path: string): Promise<void> {
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'exit');
}

test('gives the status to whoever runs the agent', async () => {
  await serve();
  expect(await fetchStatus(socketPath)).toEqual(status);
});

test('says of an answer of another version what is amiss in it, and what to do', async () => {
  await serve({ status: () => Object.assign({ ...status }, { ready: 'yes' }) });
  const message = expect.stringMatching(/restart the agent after an update: .*ready: expected boolean, got "yes"/);
  await expect(fetchStatus(socketPath)).rejects.toMatchObject({ code: 'admin_failed', message });
});

test('explains an allocation, with all that the agent says of it', async () => {
  await serve();
  expect(await fetchExplanation(socketPath, ID)).toEqual(explanation);
});

test('says that there is no such allocation', async () => {
  await serve();
  const id = ID.replaceAll('1', '9');
  const expected = { code: 'no_such_allocation', exitCode: 4, message: `Nomad knows no allocation ${id}` };
  await expect(fetchExplanation(socketPath, id)).rejects.toMatchObject(expected);
});

test.each(['', 'abc', '%2e%2e', `${ID}%00`, ID.toUpperCase().replaceAll('1', 'A')])(
  'explains nothing that is no id of an allocation: %j',
  async (id) => {
    await serve({ explain: () => Promise.reject(new Error('asked')) });
    expect(await ask(`/v1/explain/${id}`)).toMatchObject({ status: 400 });
  },
);

test('says why it cannot explain an allocation now', async () => {
  await serve({ explain: () => Promise.reject(new NotYetError('nomad_unreachable', 'Nomad did not answer')) });
  const message = 'the agent answered 503: Nomad did not answer';
  await expect(fetchExplanation(socketPath, ID)).rejects.toMatchObject({ code: 'admin_failed', message });
});

test('the socket is for its owner alone, in a directory that only its owner writes to', async () => {
  await serve();
  expect(lstatSync(socketPath).mode & 0o777).toBe(0o600);
  expect(statSync(join(directory, 'run')).mode & 0o022).toBe(0);
});

test('another user is not answered, even past the permissions of the socket', async () => {
  await serve({ peer: () => ({ uid: 4242 }) });
  await expect(ask('/v1/status')).rejects.toThrow();
});

test('a peer that cannot be told is not answered', async () => {
  await serve({
    peer: () => {
      throw new Error('no credentials');
    },
  });
  await expect(ask('/v1/status')).rejects.toThrow();
});

test('root is answered', async () => {
  await serve({ peer: () => ({ uid: 0 }) });
  expect(await ask('/v1/status')).toMatchObject({ status: 200 });
});

test('other paths and methods are refused', async () => {
  await serve();
  expect(await ask('/v1/other')).toMatchObject({ status: 404 });
  expect(await ask('/v1/status', 'POST')).toMatchObject({ status: 405 });
});

test('a status that cannot be told is an error for the one who asks, and the server lives on', async () => {
  let broken = true;
  await serve({
    status: () => {
      if (broken) throw new Error('broken');
      return status;
    },
  });
  await expect(fetchStatus(socketPath)).rejects.toMatchObject({ code: 'admin_failed' });
  broken = false;
  expect(await fetchStatus(socketPath)).toEqual(status);
});

describe('what is at the path already', () => {
  test('a socket of a killed agent is replaced', async () => {
    const first = await serve();
    await first.close();
    servers = [];
    await leaveDeadSocket(socketPath);
    expect(existsSync(socketPath)).toBe(true);
    await serve();
    expect(await fetchStatus(socketPath)).toEqual(status);
  });

  test('a running agent is left alone', async () => {
    await serve();
    await expect(new AdminServer({ socketPath, ...ANSWERS }).listen()).rejects.toMatchObject({
      code: 'agent_running',
      message: expect.stringContaining('another agent is running'),
    });
    expect(await fetchStatus(socketPath)).toEqual(status);
  });

  test('a file that is no socket is left alone', async () => {
    const server = new AdminServer({ socketPath: join(directory, 'file'), ...ANSWERS });
    writeFileSync(join(directory, 'file'), 'precious');
    await expect(server.listen()).rejects.toMatchObject({ code: 'socket_path_unsafe' });
    expect(existsSync(join(directory, 'file'))).toBe(true);
  });

  test('a directory that others can write to is refused', async () => {
    chmodSync(directory, 0o777);
    const server = new AdminServer({ socketPath: join(directory, 'admin.sock'), ...ANSWERS });
    await expect(server.listen()).rejects.toMatchObject({ code: 'socket_path_unsafe' });
  });
});

/** A service manager that has kept the lock of an agent before. */
class KeepingManager extends ServiceManager {
  readonly heard: string[] = [];
  readonly #lock: number;

  constructor(lock: number) {
    super({});
    this.#lock = lock;
  }

  override take(): number {
    return this.#lock;
  }

  override keep(name: string): void {
    this.heard.push(`keep ${name}`);
  }

  override forget(name: string): void {
    this.heard.push(`forget ${name}`);
  }
}

test.each([
  ['is kept on where its file is there', false, ['keep admin-lock']],
  ['is let go where somebody has removed its file', true, ['forget admin-lock', 'keep admin-lock']],
])('the lock that was kept %s', async (_, isRemoved, heard) => {
  mkdirSync(join(directory, 'run'));
  const manager = new KeepingManager(openSync(`${socketPath}.lock`, 'w+', 0o600));
  if (isRemoved) rmSync(`${socketPath}.lock`);
  await serve({ manager });
  expect(manager.heard).toEqual(heard);
});

test('closing takes the socket away and ends connections that hang', async () => {
  const server = await serve();
  const hanging = request({ socketPath, path: '/v1/status', method: 'GET' });
  const ended = new Promise((resolve) => hanging.once('error', resolve));
  hanging.flushHeaders();
  hanging.once('response', (response) => response.resume());
  await until('a connection', () => hanging.socket?.connecting === false);
  await server.close();
  servers = [];
  hanging.destroy(new Error('over'));
  await ended;
  expect(existsSync(socketPath)).toBe(false);
});
