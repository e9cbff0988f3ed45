import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Gates } from '../../../src/agent/gates.ts';
import { systemClock } from '../../../src/clock.ts';
import { ServiceManager } from '../../../src/linux/service-manager.ts';
import type { Log } from '../../../src/log.ts';
import { createMetrics } from '../../../src/metrics.ts';
import type { HostUser } from '../../../src/reconcile/host-user.ts';
import { DIRECTORIES, ManualReadiness } from '../../support/gate-bench.ts';

const USERS: ReadonlyMap<string, { socket: string | undefined }> = new Map([
  ['alice', { socket: '/nonexistent/podman.sock' }],
]);
const ALICE = {
  name: 'alice',
  uid: process.getuid?.() ?? -1,
  gid: process.getgid?.() ?? -1,
  home: '/',
};

/** The gates of an agent, whose accounts the test gives. */
class GatesBench implements AsyncDisposable {
  readonly dir = mkdtempSync(join(tmpdir(), 'gates-'));
  readonly path = join(this.dir, 'gate', 'alice.sock');
  readonly errors: string[] = [];
  readonly gates: Gates;
  tell: (account: HostUser | undefined) => void = () => undefined;

  constructor() {
    const quiet = () => undefined;
    const error = (_: object, message: string) => void this.errors.push(message);
    const log: Log = { debug: quiet, info: quiet, warn: quiet, error, child: () => log };
    this.gates = new Gates({
      config: { gate: { dir: join(this.dir, 'gate'), timeoutMs: 1000 }, stateDir: join(this.dir, 'state') },
      metrics: createMetrics('0.0.0'),
      manager: new ServiceManager({}),
      directories: async () => DIRECTORIES,
      readiness: new ManualReadiness(),
      watchAccount: (_, onChange) => {
        this.tell = onChange;
        return quiet;
      },
      clock: systemClock,
      log,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.gates.close(0);
    rmSync(this.dir, { recursive: true });
  }
}

/** Whether somebody accepts there. */
function accepts(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

test('a socket file that somebody has removed fails nobody, and is there again after a reload', async () => {
  await using bench = new GatesBench();
  await bench.gates.follow(USERS);
  bench.tell(ALICE);
  rmSync(bench.path);
  bench.tell({ ...ALICE, gid: ALICE.gid + 1 });
  expect(bench.errors).toEqual([expect.stringContaining('systemctl reload nomad-rootless')]);
  await bench.gates.follow(USERS);
  expect(statSync(bench.path).isSocket()).toBe(true);
  expect(await accepts(bench.path)).toBe(true);
});

test('of two reloads at once the later one is followed', async () => {
  await using bench = new GatesBench();
  const carol = { socket: undefined };
  await Promise.all([bench.gates.follow(new Map([...USERS, ['carol', carol]])), bench.gates.follow(USERS)]);
  expect(bench.gates.users().map(({ name }) => name)).toEqual(['alice']);
});

test('a user whose Podman has never answered is answered for by what was kept of another, from the first ping on', async () => {
  await using bench = new GatesBench();
  const kept = { ping: { headers: { 'libpod-api-version': '5.4.2' }, body: 'OK' } };
  mkdirSync(join(bench.dir, 'state', 'podman'), { recursive: true });
  writeFileSync(join(bench.dir, 'state', 'podman', 'bob.json'), JSON.stringify(kept));
  await bench.gates.follow(new Map([...USERS, ['bob', { socket: '/nonexistent/bob.sock' }]]));
  const answer = await new Promise<string>((resolve) => {
    const socket = connect(bench.path, () => socket.write('GET /libpod/_ping HTTP/1.1\r\nHost: u\r\n\r\n'));
    socket.once('data', (chunk) => resolve(chunk.toString()));
  });
  expect(answer).toContain('libpod-api-version: 5.4.2');
});
