import { lstatSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { MetricsServer, type MetricsServerParts } from '../../../src/agent/metrics-server.ts';
import { systemClock } from '../../../src/clock.ts';
import { createLog } from '../../../src/log.ts';
import { createMetrics, exemplarOf } from '../../../src/metrics.ts';
import { AGENT_STATUS } from '../../support/agent-status.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { recordingLog } from '../../support/recording-log.ts';
import { until } from '../../support/until.ts';

const log = createLog({ level: 'silent', format: 'json' });
const READY = { ready: true, reasons: [], warnings: [], users: [] };
let server: MetricsServer | undefined;
afterEach(() => {
  server?.close();
  server = undefined;
});

async function serve(parts: Partial<MetricsServerParts> = {}): Promise<string> {
  const { registry, openMetrics } = createMetrics('1.2.3');
  const address = { host: '127.0.0.1', port: 0 };
  server = new MetricsServer({
    address,
    registry,
    openMetrics,
    names: false,
    health: () => READY,
    status: () => AGENT_STATUS,
    secrets: () => [],
    clock: systemClock,
    log,
    ...parts,
  });
  return `http://127.0.0.1:${await server.listen()}`;
}

test('serves the metrics in the form of Prometheus', async () => {
  const response = await fetch(`${await serve()}/metrics`);
  expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
  const text = await response.text();
  expect(text).toContain('nomad_rootless_build_info{version="1.2.3"');
  expect(text).toContain('nomad_rootless_gate_requests_total{verdict="refused"} 0');
});

test('is alive whether or not it is ready', async () => {
  const url = await serve({ health: () => ({ ...READY, ready: false, reasons: ['x'] }) });
  expect((await fetch(`${url}/livez`)).status).toBe(200);
});

test('is ready with 200, and otherwise says why not with 503', async () => {
  let health: ReturnType<MetricsServerParts['health']> = {
    ...READY,
    ready: false,
    reasons: ['Nomad is out of reach', 'no full listing yet'],
  };
  const clock = new ManualClock();
  const url = await serve({ health: () => health, clock });
  const response = await fetch(`${url}/readyz`);
  expect([response.status, await response.text()]).toEqual([503, 'Nomad is out of reach\nno full listing yet\n']);
  health = READY;
  await clock.advance(100);
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
});

test("is ready while one user's Podman is down, and says whose and what to do", async () => {
  const bob = { name: 'bob', podman: 'down', since: 0, problem: 'cannot reach it; start it' } as const;
  const url = await serve({ health: () => ({ ...READY, warnings: ['look here'], users: [bob] }) });
  const response = await fetch(`${url}/readyz`);
  const text = 'ok\nwarning: look here\nwarning: user bob: cannot reach it; start it\n';
  expect([response.status, await response.text()]).toEqual([200, text]);
});

test('says no secret, neither on the page nor of why it is not ready', async () => {
  const reasons = ['the token planted-1 has expired; X-Nomad-Token: planted-2'];
  const bob = { name: 'bob', podman: 'down', since: 0, problem: 'http://a:planted@b is silent' } as const;
  const told = { ready: false, reasons, warnings: reasons, users: [bob] };
  const url = await serve({
    health: () => told,
    status: () => ({ ...AGENT_STATUS, ...told }),
    secrets: () => ['planted-1'],
  });
  for (const path of ['/', '/readyz']) {
    const text = await (await fetch(`${url}${path}`)).text();
    expect(text).toContain('has expired');
    expect(text).not.toContain('planted');
  }
});

test('shows the page to who asks for this host, and not to a name that somebody has lead here', async () => {
  const url = await serve();
  const statusFor = async (path: string, host: string) =>
    /^HTTP\/1\.1 (\d+)/.exec(await talk(url, `GET ${path} HTTP/1.1\r\n${host}\r\n`))?.[1];
  expect(await statusFor('/', 'Host: attacker.example:4656\r\n')).toBe('421');
  for (const host of ['Host: 127.0.0.1:4656\r\n', 'host: localhost\r\n', 'Host: [::1]:4656 \r\n', ''])
    expect(await statusFor('/', host), host).toBe('200');
  for (const path of ['/metrics', '/livez', '/readyz'])
    expect(await statusFor(path, 'Host: node-1.example:4656\r\n'), path).toBe('200');
});

test('knows no other paths and no other methods', async () => {
  const url = await serve();
  expect((await fetch(`${url}/status`)).status).toBe(404);
  expect((await fetch(`${url}/metrics`, { method: 'POST' })).status).toBe(405);
  expect((await fetch(`${url}/livez`, { method: 'HEAD' })).status).toBe(200);
});

test('an error while answering is a 500, and the server lives on', async () => {
  const url = await serve({
    health: () => {
      throw new Error('broken');
    },
  });
  expect((await fetch(`${url}/readyz`)).status).toBe(500);
  expect((await fetch(`${url}/livez`)).status).toBe(200);
});

test('a port that is taken is an error that names the remedy', async () => {
  const other = createServer();
  const port = await new Promise<number>((resolve) =>
    other.listen(0, '127.0.0.1', () => {
      const address = other.address();
      resolve(typeof address === 'object' && address !== null ? address.port : 0);
    }),
  );
  await expect(serve({ address: { host: '127.0.0.1', port } })).rejects.toMatchObject({
    code: 'metrics_address',
    message: expect.stringContaining('metrics.address'),
  });
  server = undefined;
  await new Promise((resolve) => other.close(resolve));
});

/** What comes back on one connection for these bytes, until it is ended. */
function talk(url: string, sent: string): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect(Number(new URL(url).port), '127.0.0.1', () => socket.write(sent));
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(text));
  });
}

test('answers one request of a connection, and ends it', async () => {
  const text = await talk(await serve(), 'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(3));
  expect(text.match(/HTTP\/1\.1 200/g)).toHaveLength(1);
  expect(text).toMatch(/\r\nconnection: close\r\n/);
});

test('refuses what is no request, and a head of more than 8 KiB', async () => {
  const url = await serve();
  expect(await talk(url, 'hello\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /);
  expect(await talk(url, `GET /livez HTTP/1.1\r\nX: ${'x'.repeat(9000)}`)).toMatch(/^HTTP\/1\.1 431 /);
});

test('ends who connects and asks nothing', async () => {
  expect(await talk(await serve(), 'GET /livez')).toBe('');
});

test('ends who asks and does not read', async () => {
  const clock = new ManualClock();
  const registry = { contentType: 'text/plain', metrics: async () => 'x'.repeat(64 * 1024 * 1024) };
  const url = await serve({ registry, clock });
  const socket = connect(Number(new URL(url).port), '127.0.0.1', () => socket.write('GET /metrics HTTP/1.1\r\n\r\n'));
  socket.pause();
  const isEnded = new Promise((resolve) => socket.on('error', resolve).on('close', resolve));
  await until('it is being answered', () => clock.waiting > 1);
  await pause(200);
  await clock.advance(5000);
  socket.resume();
  await isEnded;
  expect(socket.bytesRead).toBeLessThan(64 * 1024 * 1024);
});

test('renders the metrics once a second, however many ask', async () => {
  const clock = new ManualClock();
  let rendered = 0;
  const registry = { contentType: 'text/plain', metrics: async () => String(++rendered) };
  const url = await serve({ registry, clock });
  const ask = async () => (await fetch(`${url}/metrics`)).text();
  expect(await Promise.all([ask(), ask(), ask()])).toEqual(['1', '1', '1']);
  await clock.advance(1000);
  expect(await ask()).toBe('2');
});

test('takes 16 connections at a time; others wait, and have their turn', async () => {
  const clock = new ManualClock();
  const url = await serve({ clock });
  let answered = 0;
  const asked = Array.from({ length: 50 }, () =>
    talk(url, 'GET /livez HTTP/1.1\r\n\r\n').then((text) => {
      answered++;
      return text;
    }),
  );
  for (const most of [16, 32, 48, 50]) {
    await until(`${most} are answered`, () => answered === most);
    await pause(50);
    expect(answered).toBe(most);
    await clock.advance(100);
  }
  expect((await Promise.all(asked)).every((text) => text.startsWith('HTTP/1.1 200'))).toBe(true);
});

test('is served at a unix socket for a group, and takes it away at its end', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'metrics-'));
  const socket = join(directory, 'metrics.sock');
  const gid = process.getegid?.() ?? 0;
  await serve({ address: { socket }, group: String(gid) });
  const { mode, gid: group } = lstatSync(socket);
  expect([mode & 0o777, group]).toEqual([0o660, gid]);
  const text = await new Promise((resolve) => {
    const client = connect(socket, () => client.write('GET /livez HTTP/1.1\r\n\r\n')).on('data', (chunk) =>
      resolve(String(chunk)),
    );
  });
  expect(text).toMatch(/^HTTP\/1\.1 200 /);
  server?.close();
  server = undefined;
  expect(lstatSync(socket, { throwIfNoEntry: false })).toBeUndefined();
  rmSync(directory, { recursive: true });
});

test('a group that is not there is an error', async () => {
  const socket = join(tmpdir(), 'metrics-of-nobody.sock');
  const failure = await serve({ address: { socket }, group: 'no-such-group' }).catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: 'metrics_address', cause: { code: 'unknown_group' } });
});

test('shows the status as a page, made once a second, however many ask', async () => {
  const clock = new ManualClock();
  let asked = 0;
  const url = await serve({
    clock,
    names: true,
    status: () => ({ ...AGENT_STATUS, nodeId: `asked ${++asked} times` }),
  });
  const ask = async () => await fetch(`${url}/`);
  const answers = await Promise.all([ask(), ask(), ask()]);
  expect(answers[0]?.headers.get('content-type')).toBe('text/html; charset=utf-8');
  expect(answers[0]?.headers.get('content-security-policy')).toMatch(/^default-src 'none';/);
  for (const answer of answers) expect(await answer.text()).toContain('asked 1 times');
  await clock.advance(1000);
  expect(await (await ask()).text()).toContain('asked 2 times');
});

test('names allocations in exemplars where it may name them, and only there', async () => {
  const { registry, openMetrics, gateHoldSeconds } = createMetrics('1.2.3');
  gateHoldSeconds.observe({ labels: { user: 'alice' }, value: 0.1, exemplarLabels: exemplarOf('1a2b') });
  const ask = async (names: boolean) => {
    const url = await serve({ names, registry, openMetrics });
    const answer = await fetch(`${url}/metrics`, { headers: { Accept: 'application/openmetrics-text;version=1.0.0' } });
    server?.close();
    return { type: answer.headers.get('content-type'), text: await answer.text() };
  };
  const named = await ask(true);
  expect(named.type).toMatch(/^application\/openmetrics-text/);
  expect(named.text).toContain('# {allocation="1a2b"}');
  const unnamed = await ask(false);
  expect(unnamed.type).toMatch(/^text\/plain/);
  expect(unnamed.text).not.toContain('1a2b');
});

test('what goes on failing is logged once', async () => {
  const log = recordingLog();
  const status = () => {
    throw new Error('broken');
  };
  const clock = new ManualClock();
  const url = await serve({ status, log, clock });
  for (let asked = 0; asked < 3; asked++) {
    expect((await fetch(`${url}/`)).status).toBe(500);
    await clock.advance(1000);
  }
  expect(log.lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
});
