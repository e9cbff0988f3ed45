import { appendFileSync, chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import * as z from 'zod';
import { type AgentConfig, type AgentProcess, startAgent } from '../support/agent.ts';
import { mustRun, runCommand } from '../support/command.ts';
import { PLUGIN_DIR } from '../support/nomad/group-network.ts';
import { requires } from '../support/requires.ts';
import { createSandbox, type Sandbox } from '../support/sandbox.ts';
import { StandInNomad } from '../support/stand-in-nomad.ts';

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname;

/** What `--json` promises. */
const Report = z.strictObject({
  verdict: z.enum(['ok', 'warning', 'failed']),
  checks: z.array(
    z.strictObject({
      id: z.string().regex(/^[a-z_]+$/),
      title: z.string(),
      user: z.string().optional(),
      verdict: z.enum(['ok', 'warning', 'failed']),
      found: z.string(),
      remedy: z.string().optional(),
    }),
  ),
});

requires(
  'root',
  'sandbox',
  'podman',
)('doctor', () => {
  let sandbox: Sandbox;
  let nomad: StandInNomad;
  let agent: AgentProcess;
  let config: AgentConfig;
  beforeAll(async () => {
    sandbox = await createSandbox({ users: ['alice', 'bob'] });
    const gates = join(sandbox.directory, 'agent/gate');
    const sockets = { alice: `${gates}/alice.sock`, bob: `${gates}/bob.sock` };
    const tokens = { strong: 'all', weak: 'without-read-job' } as const;
    nomad = new StandInNomad({ dataDir: join(sandbox.directory, 'nomad'), sockets, tokens });
    await nomad.start();
    config = { nomad: { address: nomad.address, token: 'strong' }, users: { alice: {}, bob: {} } };
    agent = await startAgent(sandbox, config);
    await mustRun(['sysctl', '-w', 'net.ipv4.ip_forward=1']);
  });
  beforeEach(() => {
    agent.configure(config);
    chmodSync(agent.configFile, 0o600);
  });
  afterAll(async () => {
    await agent?.stop();
    await nomad?.api.stop();
    await sandbox?.dispose();
  });

  async function report(...args: string[]) {
    const { code, stdout, stderr } = await agent.command(['doctor', '--json', ...args]);
    expect(stderr).toBe('');
    const { verdict, checks } = Report.parse(JSON.parse(stdout));
    expect(code).toBe({ ok: 0, warning: 1, failed: 2 }[verdict]);
    return checks;
  }

  /** What is not well, but for what no sandbox has. */
  async function complaints(...args: string[]) {
    const checks = await report(...args);
    const ofSandbox = ['systemd', 'podman_cgroups', 'podman_storage'];
    return checks.filter(({ id, verdict }) => verdict !== 'ok' && !ofSandbox.includes(id));
  }

  /** Runs the remedies of all that is not well, as an operator would who pastes them. */
  async function mend(found: Awaited<ReturnType<typeof complaints>>): Promise<void> {
    for (const { remedy } of found) await mustRun(['sh', '-c', z.string().parse(remedy)]);
  }

  test('says of each thing what was found', async () => {
    const { code, stdout, stderr } = await agent.command(['doctor']);
    expect(stderr).toBe('');
    expect(code).toBe(1);
    const plain = stdout
      .replaceAll(sandbox.directory, 'DIRECTORY')
      .replaceAll(nomad.address, 'ADDRESS')
      .replaceAll(nomad.nodeId, 'NODE')
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

  test('finds who else could change the configuration or read its token, and what it prints mends it', async () => {
    chmodSync(agent.configFile, 0o646);
    const found = await complaints();
    expect(found).toMatchObject([{ id: 'config', verdict: 'failed', found: expect.stringContaining('mode 0646') }]);
    await mend(found);
    const still = await complaints();
    expect(still).toMatchObject([{ id: 'config', found: expect.stringContaining("holds Nomad's token") }]);
    await mend(still);
    expect(await complaints()).toEqual([]);
  });

  test('says which key of the configuration is wrong, and looks at the host all the same', async () => {
    agent.configure({ ...config, gate: { timeout: '90s' } });
    const found = await complaints();
    expect(found).toMatchObject([{ id: 'config', verdict: 'failed', found: expect.stringContaining('gate.timeout') }]);
    expect((await report()).map(({ id }) => id)).toContain('kernel');
  });

  test('finds a data dir that is open and an IP stack that forwards nothing, and what it prints mends it', async () => {
    chmodSync(nomad.dataDir, 0o755);
    await mustRun(['sysctl', '-w', 'net.ipv4.ip_forward=0']);
    const found = await complaints();
    expect(found).toMatchObject([
      { id: 'ip_forward', verdict: 'warning' },
      { id: 'data_dir', verdict: 'warning' },
    ]);
    await mend(found);
    expect(await complaints()).toEqual([]);
  });

  test('finds a host whose mounts reach nobody, and what it prints mends it', async () => {
    const doctor = `${process.execPath} ${MAIN} doctor --json --config ${agent.configFile}`;
    const script = `${doctor} >$1; mount --make-rshared /; ${doctor} >$2`;
    const files = ['before', 'after'].map((name) => join(sandbox.directory, name));
    await runCommand(['unshare', '--mount', '--propagation=private', 'sh', '-c', script, 'sh', ...files]);
    const [before, after] = files.map((file) => {
      const { checks } = Report.parse(JSON.parse(readFileSync(file, 'utf8')));
      return checks.find(({ id }) => id === 'propagation');
    });
    expect(before).toMatchObject({ verdict: 'failed', remedy: 'mount --make-rshared /' });
    expect(after).toMatchObject({ verdict: 'ok' });
  });

  test('finds users without subordinate ids, and what it prints gives each her own', async () => {
    const accounts = ['passwd', 'group', 'subuid', 'subgid'].map((name) => join('/etc', name));
    const before = accounts.map((file) => readFileSync(file));
    onTestFinished(() => {
      for (const [index, file] of accounts.entries()) writeFileSync(file, before[index] ?? '');
    });
    appendFileSync('/etc/passwd', 'dave:x:2101:2101::/tmp:/bin/sh\nerin:x:2102:2102::/tmp:/bin/sh\n');
    agent.configure({ ...config, users: { alice: {}, dave: {}, erin: {}, frank: {} } });
    chmodSync(agent.configFile, 0o600);
    const ofIds = async () => (await complaints()).filter(({ id }) => id === 'subordinate_ids' || id === 'account');
    const found = await ofIds();
    expect(found).toMatchObject([
      { id: 'subordinate_ids', user: 'dave', verdict: 'failed' },
      { id: 'subordinate_ids', user: 'erin', verdict: 'failed' },
      { id: 'account', user: 'frank', verdict: 'failed', remedy: 'useradd --create-home frank' },
    ]);
    await mend(found);
    expect(await ofIds()).toEqual([]);
    const { subordinateStart } = sandbox.user('alice');
    appendFileSync('/etc/subuid', `dave:${subordinateStart}:65536\n`);
    const shared = await ofIds();
    expect(shared).toMatchObject([{ user: 'alice' }, { user: 'dave' }]);
    // One of the two is enough; usermod takes none from alice, whose Podman runs on without a systemd that could stop it.
    const systemctl = join(sandbox.directory, 'systemctl');
    writeFileSync(systemctl, '#!/bin/sh\n');
    chmodSync(systemctl, 0o755);
    await mustRun(['mount', '--bind', systemctl, '/usr/bin/systemctl']);
    onTestFinished(async () => void (await mustRun(['umount', '/usr/bin/systemctl'])));
    await mend(shared.filter(({ user }) => user === 'dave'));
    expect(await ofIds()).toEqual([]);
  });

  test('says which right the token lacks, though Nomad does not', async () => {
    agent.configure({ ...config, nomad: { address: nomad.address, token: 'weak' } });
    chmodSync(agent.configFile, 0o600);
    expect(await complaints()).toMatchObject([
      {
        id: 'rights',
        verdict: 'failed',
        found: expect.stringContaining('read-job'),
        remedy: expect.stringContaining('nomad acl policy apply'),
      },
    ]);
    agent.configure({ ...config, nomad: { address: nomad.address, token: 'unknown' } });
    chmodSync(agent.configFile, 0o600);
    expect(await complaints()).toMatchObject([{ id: 'nomad', verdict: 'failed' }]);
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
      .replaceAll(sandbox.directory, 'DIRECTORY');

  test("finds sockets, time limits and volumes of the driver's that do not fit, and no CNI plugins", async () => {
    const socket = [{ name: 'alice', socket_path: 'unix:///run/user/2001/podman/podman.sock' }];
    const config = { socket, client_http_timeout: '20s', volumes: [{ enabled: false }] };
    onTestFinished(nomad.describeDriver({}, config));
    await mustRun(['mount', '-t', 'tmpfs', 'tmpfs', PLUGIN_DIR]);
    onTestFinished(async () => void (await mustRun(['umount', PLUGIN_DIR])));
    expect(told((await complaints()).filter(({ id }) => id !== 'agent'))).toMatchInlineSnapshot(`
      "failed | driver_sockets | socket "alice" of the podman driver is /run/user/2001/podman/podman.sock, alice's own Podman: without the gate nothing waits until an allocation is ready; set socket_path = "unix://DIRECTORY/agent/gate/alice.sock"; no socket of the podman driver leads to DIRECTORY/agent/gate/alice.sock, so that no task can run as alice: in plugin "nomad-driver-podman" of Nomad's configuration socket "alice" is /run/user/2001/podman/podman.sock; set socket_path = "unix://DIRECTORY/agent/gate/alice.sock", and restart Nomad; no socket of the podman driver leads to DIRECTORY/agent/gate/bob.sock, so that no task can run as bob: in plugin "nomad-driver-podman" of Nomad's configuration add socket { name = "bob" socket_path = "unix://DIRECTORY/agent/gate/bob.sock" }, and restart Nomad
      failed | driver_timeout | client_http_timeout is 20 s, gate.timeout 30 s: the driver gives up before the gate has answered, and its reason is lost; set gate.timeout below client_http_timeout of plugin "nomad-driver-podman"
      warning | driver_volumes | volumes { enabled = false } in plugin "nomad-driver-podman": tasks cannot name paths of the host in config.volumes; what Nomad mounts is not affected
      warning | cni_plugins | loopback, bridge, firewall, portmap not in /usr/lib/cni: no group can have network mode bridge; install the CNI plugins there, or set cni_path of Nomad's client"
    `);
  });

  test('finds a driver that is unhealthy, one that is not there, and a filesystem without ACLs', async () => {
    const takeBack = nomad.describeDriver({ Healthy: false, HealthDescription: 'alice: refused' }, {});
    await mustRun(['mount', '-t', 'ramfs', 'ramfs', nomad.allocDir]);
    try {
      expect(told((await complaints()).filter(({ id }) => id !== 'agent'))).toMatchInlineSnapshot(`
        "failed | data_dir | DIRECTORY/nomad/alloc (ramfs) does not support POSIX ACLs, which protect allocations; put Nomad's alloc_dir on ext4, XFS, btrfs or tmpfs, mounted without noacl
        failed | driver | unhealthy, so that it gets no task: alice: refused"
      `);
    } finally {
      await mustRun(['umount', nomad.allocDir]);
      takeBack();
    }
    onTestFinished(nomad.describeDriver({ Detected: false, Healthy: false }, {}));
    expect(told(await complaints())).toMatchInlineSnapshot(
      `"failed | driver | Nomad has not detected it: put nomad-driver-podman into plugin_dir, plugin "nomad-driver-podman" into Nomad's configuration, and restart Nomad"`,
    );
  });

  test('finds an old kernel, a root without its rights, and a program that is missing', async () => {
    await mustRun(['mount', '--bind', '/dev/null', '/usr/bin/choom']);
    onTestFinished(async () => void (await mustRun(['umount', '/usr/bin/choom'])));
    const weak = ['setarch', '--uname-2.6', 'setpriv', '--bounding-set', '-kill,-net_raw'];
    const command = [...weak, process.execPath, MAIN, 'doctor', '--json', '--config', agent.configFile];
    const { checks } = Report.parse(JSON.parse((await runCommand(command)).stdout));
    const host = checks.filter(({ id, verdict }) => verdict === 'failed' && !['bridge'].includes(id));
    expect(told(host).replace(/2\.6\.\S+;/, 'KERNEL;')).toMatchInlineSnapshot(`
      "failed | kernel | KERNEL; install Linux 5.14 or later
      failed | capabilities | root lacks CAP_KILL, CAP_NET_RAW here; run it outside of containers, with CapabilityBoundingSet= of deploy/systemd/nomad-rootless.service
      failed | programs | /usr/bin/choom missing; install util-linux, coreutils, findutils and grep"
    `);
  });

  test('finds no users, users who are root or of the system, and modes of containers.conf that start in no network', async () => {
    agent.configure({ ...config, users: {} });
    chmodSync(agent.configFile, 0o600);
    expect(told((await complaints()).filter(({ id }) => id !== 'agent'))).toMatchInlineSnapshot(
      `"failed | users | none: no task can run. Name them in DIRECTORY/agent/config.yaml, as users: {alice: {}}"`,
    );
    agent.configure({ ...config, users: { alice: {}, root: {}, daemon: {} } });
    chmodSync(agent.configFile, 0o600);
    const alice = sandbox.user('alice');
    await alice.configure('userns = "auto"\ndefault_sysctls = ["net.ipv4.ping_group_range=0 0"]');
    onTestFinished(() => alice.configure(''));
    const wrong = (await complaints()).filter(({ id, user }) => user !== undefined && id !== 'podman_socket');
    expect(told(wrong)).toMatchInlineSnapshot(`
      "warning | alice | containers_conf | userns = "auto" beside net.ipv4.ping_group_range=0 0 of default_sysctls: containers do not start in a group network; set default_sysctls = [] below [containers] of ~/.config/containers/containers.conf, and restart podman.service
      failed | root | account | tasks never run as root; name another user
      failed | daemon | account | uid 1 is below min_uid, 1000; name another user, or set min_uid"
    `);
  });

  test('waits for no Podman that hangs, and says of one that is not there how it comes', async () => {
    const [alice, bob] = [sandbox.user('alice'), sandbox.user('bob')];
    await bob.stopService();
    const goOn = alice.hangService();
    try {
      const found = (await complaints()).filter(({ user }) => user !== undefined);
      expect(found).toMatchObject([
        { id: 'podman', user: 'alice', found: expect.stringContaining('no answer within 5 s') },
        {
          id: 'podman_socket',
          user: 'bob',
          found: `nothing listens on ${bob.socket}`,
          remedy: 'systemctl --user --machine=bob@ enable --now podman.socket',
        },
      ]);
    } finally {
      goOn();
      await bob.startService();
    }
  });

  test('waits for no name service that hangs', async () => {
    const program = join(sandbox.directory, 'name-service');
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
    const { code, stderr } = await sandbox.user('alice').run([process.execPath, MAIN, 'doctor']);
    expect(stderr).toContain('must run as root');
    expect(code).toBe(2);
  });

  test('says that Nomad is away, and that the agent does not run', async () => {
    await nomad.api.stop();
    await agent.stop();
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
