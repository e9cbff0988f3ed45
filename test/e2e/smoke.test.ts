import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { mustRun } from '../support/command.ts';
import { aclsBelow, mountsBelow } from '../support/leftovers.ts';
import { requires } from '../support/requires.ts';
import { createSandbox, IMAGE, type Sandbox } from '../support/sandbox.ts';
import { type StandInNomad, startStandInNomad } from '../support/stand-in-nomad.ts';

requires(
  'root',
  'sandbox',
  'podman',
)('without an agent, on the podman sockets themselves', () => {
  let sandbox: Sandbox;
  let nomad: StandInNomad;

  beforeAll(async () => {
    sandbox = await createSandbox({ users: ['alice'] });
    const sockets = { alice: sandbox.user('alice').socket };
    nomad = await startStandInNomad({ dataDir: join(sandbox.directory, 'nomad'), sockets });
  });
  afterAll(async () => {
    await nomad?.stop();
    await sandbox?.dispose();
  });

  const job = (script: string) => ({
    id: 'web',
    meta: { podman_user: 'alice' },
    tasks: [
      {
        name: 't',
        socket: 'alice',
        image: IMAGE,
        command: '/bin/sh',
        args: ['-c', script],
        secrets: { tpl: 'secret' },
      },
    ],
  });

  test('a task on a 0700 data dir fails as it does with a real Nomad', async () => {
    expect(statSync(nomad.dataDir).mode & 0o777).toBe(0o700);
    const allocation = nomad.runJob(job('true'));
    await allocation.waitFor('failed');
    const failure = allocation.events('t').find(({ Type }) => Type === 'Driver Failure');
    expect(failure?.DriverError).toMatch(
      new RegExp(`cannot create container, status code: 500: .*statfs ${allocation.directory}/.*: permission denied`),
    );
    expect(allocation.events('t').at(-1)?.DisplayMessage).toBe('Policy allows no restarts');
    await allocation.gc();
  });

  test('a task runs in real rootless Podman once its user may pass the data dir, and leaves nothing', async () => {
    const alice = sandbox.user('alice');
    await mustRun(['setfacl', '--modify', `u:${alice.uid}:--x`, nomad.dataDir]);
    const allocation = nomad.runJob(
      job('echo hello; echo oops >&2; cat /secrets/tpl >/alloc/data/seen; echo done >/local/x; exec sleep 1000'),
    );
    await allocation.waitFor('running');
    await allocation.waitForLog('t', 'hello');
    await allocation.waitForLog('t', 'oops');
    expect(statSync(join(allocation.directory, 'alloc/data/seen')).uid).toBe(alice.uid);

    const result = await allocation.exec(
      't',
      ['/bin/sh', '-c', 'read line; echo "got $line"; echo err >&2; exit 3'],
      'in\n',
    );
    expect(result).toEqual({ stdout: 'got in\n', stderr: 'err\n', exitCode: 3 });

    await allocation.stop();
    expect(allocation.status).toBe('complete');
    expect(mountsBelow(allocation.directory)).not.toEqual([]);
    await allocation.gc();
    expect(mountsBelow(allocation.directory)).toEqual([]);
    expect(await alice.podman(['ps', '--all', '--quiet'])).toBe('');
    expect(await aclsBelow(nomad.dataDir)).toEqual([`${nomad.dataDir} user:${alice.uid}:--x`]);

    const sent = nomad.requestsTo('alice').map((request) => request.replaceAll(allocation.id, '<ALLOC_ID>'));
    const ids = (request: string) => request.replace(/\b[0-9a-f]{64}\b/, '<ID>');
    expect(inOrder(sent.map(ids), recordedRequests())).toEqual(recordedRequests());
  });

  test('a driver older than 0.6.5 leaves the log FIFOs to root, and the task does not start', async () => {
    const old = await startStandInNomad({
      dataDir: join(sandbox.directory, 'old'),
      sockets: { alice: sandbox.user('alice').socket },
      driverGivesFifos: false,
    });
    await mustRun(['setfacl', '--modify', `u:${sandbox.user('alice').uid}:--x`, old.dataDir]);
    const allocation = old.runJob(job('true'));
    await allocation.waitFor('failed');
    const failure = allocation.events('t').find(({ Type }) => Type === 'Driver Failure');
    expect(failure?.DriverError).toContain('could not start container');
    await old.stop();
  });
});

/** The recorded requests of a task's whole life, without the comments behind them. */
function recordedRequests(): string[] {
  return readFileSync(new URL('../fixtures/podman-driver-0.6.5/requests.txt', import.meta.url), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.replace(/ {2,}.*$/, '').replace('<EXEC_ID>', '<ID>'));
}

/** What of `wanted` comes in `all` in that order. */
function inOrder(all: readonly string[], wanted: readonly string[]): string[] {
  const rest = [...wanted];
  return all.flatMap((request) => (request === rest[0] ? (rest.shift() ?? []) : []));
}
