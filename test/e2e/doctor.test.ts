import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { mustRun, runCommand } from '../support/command.ts';
import { DoctorReport, DoctorStage } from '../support/doctor-stage.ts';
import { requires } from '../support/requires.ts';

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname;

requires(
  'root',
  'sandbox',
  'podman',
)('doctor', () => {
  let stage: DoctorStage;
  beforeAll(async () => {
    stage = await DoctorStage.create();
  });
  beforeEach(() => stage.configure({}));
  afterAll(() => stage?.[Symbol.asyncDispose]());

  async function report(...args: string[]) {
    const { code, stdout, stderr } = await stage.agent.command(['doctor', '--json', ...args]);
    expect(stderr).toBe('');
    const { verdict, checks } = DoctorReport.parse(JSON.parse(stdout));
    expect(code).toBe({ ok: 0, warning: 1, failed: 2 }[verdict]);
    return checks;
  }

  /** What is not well, but for what no sandbox has. */
  async function complaints(...args: string[]) {
    const checks = await report(...args);
    const ofSandbox = ['systemd', 'podman_cgroups', 'podman_storage'];
    return checks.filter(({ id, verdict }) => verdict !== 'ok' && !ofSandbox.includes(id));
  }

  test('says of each thing what was found', async () => {
    const { code, stdout, stderr } = await stage.agent.command(['doctor']);
    expect(stderr).toBe('');
    expect(code).toBe(1);
    const plain = stdout
      .replaceAll(stage.sandbox.directory, 'DIRECTORY')
      .replaceAll(stage.nomad.address, 'ADDRESS')
      .replaceAll(stage.nomad.nodeId, 'NODE')
      .replace(/(Node\.js|Linux|user namespaces|SELinux, AppArmor) +.*$/gm, '$1 …')
      .replace(/CNI plugins +.*$/m, 'CNI plugins …')
      .replace(/(Podman +)\d\S*(, rootless)/g, '$1VERSION$2')
      .replace(/v2, with.*$/gm, 'v2, with…');
    expect(plain).toMatchInlineSnapshot(`
      "         USER   CHECK                    FOUND
      ok              Node.js …
      ok              Linux …
      ok              capabilities             everything that the agent needs
      ok              programs                 all programs that the agent runs
      ok              user namespaces …
      ok              cgroups                  version 2
      ok              propagation of /         shared
      ok              SELinux, AppArmor …
      ok              bridges                  the kernel has them
      ok              IP forwarding            on
      ok              configuration            DIRECTORY/agent/config.yaml
      ok              users                    alice, bob
      warning         systemd                  has not booted this host: nothing keeps the gates open while the agent restarts, and tasks that start then fail
      ok              agent                    ready, 0.1.0
      ok              Nomad                    2.0.5 at ADDRESS
      ok              node                     NODE
      ok              rights in Nomad          agent, node, and the allocations of all namespaces can be read
      ok              data dir                 DIRECTORY/nomad (tmpfs), closed to all but root
      ok              podman driver            healthy
      ok              the driver's sockets     lead to the gate of each user
      ok              the driver's time limit  client_http_timeout is 60 s, gate.timeout 30 s
      ok              the driver's volumes     enabled
      ok              CNI plugins …
      ok       alice  account                  uid 2001
      ok       alice  subordinate ids          65536, nobody else's
      ok       alice  Podman's socket          /run/user/2001/podman/podman.sock
      ok       alice  Podman                   VERSION, rootless
      warning  alice  cgroups of Podman        v2, with…
      warning  alice  storage of Podman        vfs copies a whole image for each container; install fuse-overlayfs, or set driver = "overlay" in storage.conf
      ok       alice  containers.conf          userns as by default
      ok       bob    account                  uid 2002
      ok       bob    subordinate ids          65536, nobody else's
      ok       bob    Podman's socket          /run/user/2002/podman/podman.sock
      ok       bob    Podman                   VERSION, rootless
      warning  bob    cgroups of Podman        v2, with…
      warning  bob    storage of Podman        vfs copies a whole image for each container; install fuse-overlayfs, or set driver = "overlay" in storage.conf
      ok       bob    containers.conf          userns as by default

      0 failed, 5 warnings, 32 ok.
      "
    `);
  });

  test('says which key of the configuration is wrong, and looks at the host all the same', async () => {
    stage.configure({ gate: { timeout: '90s' } });
    const found = await complaints();
    expect(found).toMatchObject([{ id: 'config', verdict: 'failed', found: expect.stringContaining('gate.timeout') }]);
    expect((await report()).map(({ id }) => id)).toContain('kernel');
  });

  test('names a user who is not in the configuration, and looks at nobody else', async () => {
    const checks = await report('--user', 'alice');
    expect(new Set(checks.map(({ user }) => user))).toEqual(new Set([undefined, 'alice']));
    expect(await complaints('--user', 'daemon')).toMatchObject([
      { id: 'users', verdict: 'failed', found: expect.stringContaining('daemon is not one of users') },
      { id: 'account', user: 'daemon', found: expect.stringContaining('min_uid') },
      { id: 'podman_socket', user: 'daemon' },
    ]);
  });

  /** As a table of what is wrong: the check, how bad it is, what was found. */
  const told = (found: Awaited<ReturnType<typeof complaints>>) =>
    found
      .map(({ id, user, verdict, found: what }) => [verdict, user, id, what].filter(Boolean).join(' | '))
      .join('\n')
      .replaceAll(stage.sandbox.directory, 'DIRECTORY');

  test('finds an old kernel, a root without its rights, and a program that is missing', async () => {
    await mustRun(['mount', '--bind', '/dev/null', '/usr/bin/choom']);
    onTestFinished(async () => void (await mustRun(['umount', '/usr/bin/choom'])));
    const weak = ['setarch', '--uname-2.6', 'setpriv', '--bounding-set', '-kill,-net_raw'];
    const command = [...weak, process.execPath, MAIN, 'doctor', '--json', '--config', stage.agent.configFile];
    const { checks } = DoctorReport.parse(JSON.parse((await runCommand(command)).stdout));
    const host = checks.filter(({ id, verdict }) => verdict === 'failed' && !['bridge'].includes(id));
    expect(told(host).replace(/2\.6\.\S+;/, 'KERNEL;')).toMatchInlineSnapshot(`
      "failed | kernel | KERNEL; install Linux 5.14 or later
      failed | capabilities | root lacks CAP_KILL, CAP_NET_RAW here; run it outside of containers, with CapabilityBoundingSet= of deploy/systemd/nomad-rootless.service
      failed | programs | /usr/bin/choom missing; install util-linux, coreutils, findutils and grep"
    `);
  });

  test('waits for no name service that hangs', async () => {
    const program = join(stage.sandbox.directory, 'name-service');
    writeFileSync(program, '#!/bin/sh\nexec sleep 1000\n');
    chmodSync(program, 0o755);
    await mustRun(['mount', '--bind', program, '/usr/bin/getent']);
    onTestFinished(async () => void (await mustRun(['umount', '/usr/bin/getent'])));
    const found = (await complaints()).filter(({ user }) => user !== undefined);
    expect(found).toMatchObject([
      { id: 'account', user: 'alice', found: expect.stringContaining('timeout') },
      { id: 'account', user: 'bob', found: expect.stringContaining('timeout') },
    ]);
  });

  test('says that it needs root', async () => {
    const { code, stderr } = await stage.sandbox.user('alice').run([process.execPath, MAIN, 'doctor']);
    expect(stderr).toContain('must run as root');
    expect(code).toBe(2);
  });

  test('says that Nomad is away, and that the agent does not run', async () => {
    await stage.nomad.api.stop();
    await stage.agent.stop();
    expect(await complaints()).toMatchObject([
      { id: 'agent', verdict: 'failed', found: expect.stringContaining('the agent is not running') },
      {
        id: 'nomad',
        verdict: 'failed',
        found: expect.stringContaining('nothing listens on port'),
        remedy: 'systemctl start nomad',
      },
    ]);
  });
});
