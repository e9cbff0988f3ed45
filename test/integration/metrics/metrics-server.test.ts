import { createServer } from 'node:http';
import { afterEach, expect, test } from 'vitest';
import { MetricsServer, type MetricsServerParts } from '../../../src/agent/metrics-server.ts';
import { createLog } from '../../../src/log.ts';
import { createMetrics } from '../../../src/metrics.ts';

const log = createLog({ level: 'silent', format: 'json' });
const READY = { ready: true, reasons: [], warnings: [], users: [] };
let server: MetricsServer | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

async function serve(parts: Partial<MetricsServerParts> = {}): Promise<string> {
  const { registry } = createMetrics('1.2.3');
  const address = { host: '127.0.0.1', port: 0 };
  server = new MetricsServer({ address, registry, status: () => READY, log, ...parts });
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
  const url = await serve({ status: () => ({ ...READY, ready: false, reasons: ['x'] }) });
  expect((await fetch(`${url}/livez`)).status).toBe(200);
});

test('is ready with 200, and otherwise says why not with 503', async () => {
  let status: ReturnType<MetricsServerParts['status']> = {
    ...READY,
    ready: false,
    reasons: ['Nomad is out of reach', 'no full listing yet'],
  };
  const url = await serve({ status: () => status });
  const response = await fetch(`${url}/readyz`);
  expect([response.status, await response.text()]).toEqual([503, 'Nomad is out of reach\nno full listing yet\n']);
  status = READY;
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
});

test("is ready while one user's Podman is down, and says whose and what to do", async () => {
  const bob = { name: 'bob', podman: 'down', since: 0, problem: 'cannot reach it; start it' } as const;
  const url = await serve({ status: () => ({ ...READY, warnings: ['look here'], users: [bob] }) });
  const response = await fetch(`${url}/readyz`);
  const text = 'ok\nwarning: look here\nwarning: user bob: cannot reach it; start it\n';
  expect([response.status, await response.text()]).toEqual([200, text]);
});

test('knows no other paths and no other methods', async () => {
  const url = await serve();
  expect((await fetch(`${url}/`)).status).toBe(404);
  expect((await fetch(`${url}/metrics`, { method: 'POST' })).status).toBe(405);
  expect((await fetch(`${url}/livez`, { method: 'HEAD' })).status).toBe(200);
});

test('an error while answering is a 500, and the server lives on', async () => {
  const url = await serve({
    status: () => {
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
