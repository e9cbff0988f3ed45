import { appendFileSync, chmodSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import * as z from 'zod';
import { mustRun, runCommand } from '../support/command.ts';
import { type DoctorCheck, DoctorStage } from '../support/doctor-stage.ts';
import { PLUGIN_DIR } from '../support/nomad/group-network.ts';
import { playPodman } from '../support/played-podman.ts';
import { requires } from '../support/requires.ts';
import type { SandboxUser } from '../support/sandbox-user.ts';
import { TIME_SCALE } from '../support/time-scale.ts';
import { until } from '../support/until.ts';

type Step = () => Promise<unknown> | unknown;

/** One thing that is wrong, what doctor says of it, and what mends it. */
interface Fault {
  readonly check: string;
  /** Whose check it is; of a fault of two users one is mended. */
  readonly user?: string;
  readonly breaks: Step;
  readonly says: (lines: string) => void;
  /** Where no command is printed: what the words ask for, done as they say. */
  readonly edits?: (found: string) => Promise<unknown> | unknown;
  /** What systemd and Nomad's servers, which are not here, do of what the command asks of them. */
  readonly plays?: Readonly<Record<string, Step>>;
}

const ACCOUNTS = ['passwd', 'group', 'subuid', 'subgid'].map((name) => join('/etc', name));
/** On a busy machine a Podman that is well may take longer to answer than doctor waits. */
const PATIENCE = { timeout: 40_000 * TIME_SCALE, interval: 1000 };
const SYSCTL_FILE = '/proc/sys/user/max_user_namespaces';

/*
 * Not here, for no sandbox has it to break: Node.js, the kernel and root's rights (doctor.test.ts has them by setarch(1) and
 * setpriv(1)), cgroup v1, SELinux, user namespaces that the kernel has not, and cgroups that are not delegated, which in a sandbox never
 * are: test/unit/model/checks. What needs a systemd is in test/systemd/doctor.test.ts.
 */
requires(
  'root',
  'sandbox',
  'podman',
)('what doctor says mends', () => {
  let stage: DoctorStage;
  let good: string[];
  const accounts = new Map<string, Buffer>();
  beforeAll(async () => {
    stage = await DoctorStage.create();
    for (const file of ACCOUNTS) accounts.set(file, readFileSync(file));
    await until('nothing has failed', async () => !(await stage.checks()).some(isFailed));
    good = standOf(await stage.checks());
  });
  afterEach(() => {
    for (const [file, content] of accounts) writeFileSync(file, content);
    stage.configure({});
  });
  afterAll(() => stage?.[Symbol.asyncDispose]());

  const isFailed = ({ verdict }: DoctorCheck) => verdict === 'failed';
  /** How each thing stands; what the agent says it found some time ago. */
  const standOf = (checks: readonly DoctorCheck[]) =>
    checks.filter(({ id }) => id !== 'agent').map(({ id, user = '', verdict }) => `${user} ${id} ${verdict}`);
  const told = ({ verdict, user, id, found, remedy }: DoctorCheck) =>
    `${[verdict, user, id, found].filter(Boolean).join(' | ')}${remedy === undefined ? '' : `\n# ${remedy}`}`
      .replaceAll(stage.sandbox.directory, 'DIRECTORY')
      .replaceAll(stage.nomad.address, 'ADDRESS')
      .replaceAll(release(), 'KERNEL')
      .replaceAll(new URL(stage.nomad.address).port, 'PORT');

  const bob = (): SandboxUser => stage.sandbox.user('bob');
  const alice = (): SandboxUser => stage.sandbox.user('alice');
  const gateOf = (user: string) => `unix://${stage.agent.gateSocket(user)}`;
  const mountOver = (target: string) => mustRun(['mount', '-t', 'tmpfs', 'tmpfs', target]);
  const unmount = (target: string) => mustRun(['umount', target]);
  const usersAre = (...names: string[]) =>
    stage.configure({ users: Object.fromEntries(names.map((name) => [name, {}])) });
  const tokenFile = () => join(stage.sandbox.directory, 'token');
  const withTokenFile = (mode: number) => {
    writeFileSync(tokenFile(), 'strong\n');
    chmodSync(tokenFile(), mode);
    stage.configure({ nomad: { address: stage.nomad.address, token_file: tokenFile() } });
  };
  const rangeOf = (user: SandboxUser, count: number) => `${user.name}:${user.subordinateStart}:${count}\n`;
  const giveIds = (user: SandboxUser, count: number) => {
    for (const file of ['/etc/subuid', '/etc/subgid']) {
      const others = readFileSync(file, 'utf8').replace(new RegExp(`^${user.name}:.*\n`, 'm'), '');
      writeFileSync(file, others + (count > 0 ? rangeOf(user, count) : ''));
    }
  };
  const containersConf = () => join(alice().home, '.config/containers/containers.conf');

  let takeBack: Step = () => undefined;
  const driverIs = (health: object, config: object) => {
    takeBack = stage.nomad.describeDriver({ ...health }, { ...config });
  };
  const sockets = (paths: Readonly<Record<string, string>>) =>
    driverIs({}, { socket: Object.entries(paths).map(([name, socket_path]) => ({ name, socket_path })) });
  /** The socket blocks that doctor prints, put into Nomad's configuration. */
  const pasteSocket = (found: string) => {
    const [, name = '', path = ''] = /add socket \{ name = "(\w+)" socket_path = "([^"]+)" \}/.exec(found) ?? [];
    takeBack();
    sockets({ alice: gateOf('alice'), [name]: path });
  };
  const setSocketPath = (found: string) => {
    const [, path = ''] = /set socket_path = "([^"]+)"/.exec(found) ?? [];
    takeBack();
    sockets({ alice: path, bob: gateOf('bob') });
  };

  let endPlayed: Step = () => undefined;
  const podmanIs = async (...[says, uid]: [Parameters<typeof playPodman>[1], number?]) => {
    await bob().stopService();
    endPlayed = await playPodman(bob(), says, uid);
  };
  const ownPodman = async () => {
    await endPlayed();
    endPlayed = () => undefined;
    await bob().stopService('SIGKILL');
    rmSync(bob().socket, { force: true });
    await bob().startService();
  };
  const APPLY = 'nomad acl policy apply nomad-rootless -';
  const RESTART = 'systemctl --user --machine=bob@ restart podman.socket podman.service';

  const FAULTS: Readonly<Record<string, Fault>> = {
    'a configuration that others can change': {
      check: 'config',
      breaks: () => chmodSync(stage.agent.configFile, 0o622),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(`
        "failed | config | DIRECTORY/agent/config.yaml (uid 0, mode 0622) can be changed by others than root
        # chown root DIRECTORY/agent/config.yaml && chmod go-w DIRECTORY/agent/config.yaml"
      `),
    },
    'a configuration that shows its token': {
      check: 'config',
      breaks: () => chmodSync(stage.agent.configFile, 0o604),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(`
        "failed | config | DIRECTORY/agent/config.yaml holds Nomad's token, and users other than root can read it
        # chmod go-rwx DIRECTORY/agent/config.yaml"
      `),
    },
    'a key that is not one': {
      check: 'config',
      breaks: () => stage.configure({ gate: { timeot: '20s' } }),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(
          `"failed | config | DIRECTORY/agent/config.yaml:3: gate.timeot: expected a known key; did you mean gate.timeout?"`,
        ),
      edits: () => stage.configure({ gate: { timeout: '20s' } }),
    },
    'a token file that is not there': {
      check: 'nomad',
      breaks: () => {
        withTokenFile(0o600);
        rmSync(tokenFile());
      },
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(
          `"failed | nomad | ADDRESS: DIRECTORY/token: expected a file, got nothing; see nomad.* in the configuration"`,
        ),
      edits: () => withTokenFile(0o600),
    },
    'a token file that others can read': {
      check: 'config',
      breaks: () => withTokenFile(0o644),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(`
        "failed | config | DIRECTORY/token holds Nomad's token, and users other than root can read it
        # chmod go-rwx DIRECTORY/token"
      `),
    },
    'a configuration without users': {
      check: 'users',
      breaks: () => usersAre(),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(
          `"failed | users | none: no task can run. Name them in DIRECTORY/agent/config.yaml, as users: {alice: {}}"`,
        ),
      edits: () => usersAre('alice', 'bob'),
    },
    'a private mount at /': {
      check: 'propagation',
      breaks: () => mustRun(['mount', '--make-private', '/']),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(`
        "failed | propagation | private: what Nomad mounts, such as secrets/, does not reach the mount namespaces of users
        # mount --make-rshared /"
      `),
    },
    'no user namespaces': {
      check: 'user_namespaces',
      // A file in its place: the parameter itself is that of all sandboxes, and of the machine.
      breaks: async () => {
        const file = join(stage.sandbox.directory, 'max_user_namespaces');
        writeFileSync(file, '0\n');
        await mustRun(['mount', '--bind', file, SYSCTL_FILE]);
      },
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(`
        "failed | user_namespaces | user.max_user_namespaces is 0
        # sysctl -w user.max_user_namespaces=15000"
      `),
    },
    'an IP stack that forwards nothing': {
      check: 'ip_forward',
      breaks: () => mustRun(['sysctl', '-w', 'net.ipv4.ip_forward=0']),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(`
        "warning | ip_forward | net.ipv4.ip_forward is 0: until a CNI plugin sets it no group with a network of its own reaches others
        # sysctl -w net.ipv4.ip_forward=1"
      `),
    },
    'a kernel without bridges': {
      check: 'bridge',
      breaks: async () => {
        await mountOver('/sys/module');
        await runCommand(['mount', '-t', 'tmpfs', 'tmpfs', '/lib/modules']);
      },
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(
          `"warning | bridge | the kernel has no module bridge, loaded, built in or below /lib/modules/KERNEL: Nomad places no group with network mode bridge; install the kernel's modules"`,
        ),
      edits: async () => {
        await unmount('/sys/module');
        await runCommand(['umount', '/lib/modules']);
      },
    },
    'a program that is missing': {
      check: 'programs',
      breaks: () => mustRun(['mount', '--bind', '/dev/null', '/usr/bin/choom']),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(
          `"failed | programs | /usr/bin/choom missing; install util-linux, coreutils, findutils and grep"`,
        ),
      edits: () => unmount('/usr/bin/choom'),
    },
    'a Nomad that does not run': {
      check: 'nomad',
      breaks: () => stage.nomad.api.stop(),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(`
        "failed | nomad | ADDRESS: nothing listens on port PORT of nomad.address; start Nomad, or correct nomad.address
        # systemctl start nomad"
      `),
      plays: { 'systemctl start nomad': () => stage.nomad.api.start() },
    },
    'a token without rights': {
      check: 'nomad',
      breaks: () => stage.configure({ nomad: { address: stage.nomad.address, token: 'rightless' } }),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(`
        "failed | nomad | ADDRESS: Nomad refused /v1/agent/self (403 Permission denied): the token is not valid, or its policy lacks: agent { policy = "read" }: GET /v1/agent/self: 403 Permission denied
        # printf '%s\\n' 'namespace "*" { capabilities = ["read-job"] }' 'node { policy = "read" }' 'agent { policy = "read" }' | nomad acl policy apply nomad-rootless -"
      `),
      plays: { [APPLY]: () => stage.nomad.api.setRights('rightless', 'all') },
    },
    'a token without the right to read jobs': {
      check: 'rights',
      breaks: () => stage.configure({ nomad: { address: stage.nomad.address, token: 'weak' } }),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(`
        "failed | rights | Nomad's event stream says nothing: the token's policy lacks: namespace "*" { capabilities = ["read-job"] }
        # printf '%s\\n' 'namespace "*" { capabilities = ["read-job"] }' 'node { policy = "read" }' 'agent { policy = "read" }' | nomad acl policy apply nomad-rootless -"
      `),
      plays: { [APPLY]: () => stage.nomad.api.setRights('weak', 'all') },
    },
    'a data dir that others can enter': {
      check: 'data_dir',
      breaks: () => chmodSync(stage.nomad.dataDir, 0o755),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(`
        "warning | data_dir | DIRECTORY/nomad (tmpfs) can be entered by users other than root: tasks see ids as they are on disk, and allocations that have ended are open
        # chmod 0700 DIRECTORY/nomad"
      `),
    },
    'a data dir that is not there': {
      check: 'data_dir',
      breaks: () => renameSync(stage.nomad.dataDir, `${stage.nomad.dataDir}-away`),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(
          `"failed | data_dir | ENOENT: no such file or directory, lstat 'DIRECTORY/nomad'; where it was removed restart Nomad, whose client makes it"`,
        ),
      edits: () => renameSync(`${stage.nomad.dataDir}-away`, stage.nomad.dataDir),
    },
    'a filesystem without ACLs': {
      check: 'data_dir',
      breaks: () => mustRun(['mount', '-t', 'ramfs', 'ramfs', stage.nomad.allocDir]),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(
          `"failed | data_dir | DIRECTORY/nomad/alloc (ramfs) does not support POSIX ACLs, which protect allocations; put Nomad's alloc_dir on ext4, XFS, btrfs or tmpfs, mounted without noacl"`,
        ),
      edits: () => unmount(stage.nomad.allocDir),
    },
    'a driver that Nomad has not detected': {
      check: 'driver',
      breaks: () => driverIs({ Detected: false, Healthy: false }, {}),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(
          `"failed | driver | Nomad has not detected it: put nomad-driver-podman into plugin_dir, plugin "nomad-driver-podman" into Nomad's configuration, and restart Nomad"`,
        ),
      edits: () => takeBack(),
    },
    'a driver that is unhealthy': {
      check: 'driver',
      breaks: () => driverIs({ Healthy: false, HealthDescription: 'alice: refused' }, {}),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(`"failed | driver | unhealthy, so that it gets no task: alice: refused"`),
      edits: () => takeBack(),
    },
    'no socket of the driver`s at all': {
      check: 'driver_sockets',
      breaks: () => sockets({}),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(
          `"failed | driver_sockets | Nomad names no socket of the podman driver, so that no task can run as alice, bob: add socket blocks to plugin "nomad-driver-podman" in Nomad's configuration"`,
        ),
      edits: () => {
        takeBack();
        sockets({ alice: gateOf('alice'), bob: gateOf('bob') });
      },
    },
    'a socket of the driver`s that is missing': {
      check: 'driver_sockets',
      breaks: () => sockets({ alice: gateOf('alice') }),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(
          `"failed | driver_sockets | no socket of the podman driver leads to DIRECTORY/agent/gate/bob.sock, so that no task can run as bob: in plugin "nomad-driver-podman" of Nomad's configuration add socket { name = "bob" socket_path = "unix://DIRECTORY/agent/gate/bob.sock" }, and restart Nomad"`,
        ),
      edits: pasteSocket,
    },
    'a socket of the driver`s where no gate is': {
      check: 'driver_sockets',
      breaks: () => sockets({ alice: gateOf('alice'), bob: gateOf('bob'), carol: gateOf('carol') }),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(
          `"failed | driver_sockets | socket "carol" of the podman driver is DIRECTORY/agent/gate/carol.sock, where no gate is: correct socket_path in Nomad's configuration, or add the user to users in nomad-rootless's (configured: alice, bob)"`,
        ),
      edits: () => {
        takeBack();
        sockets({ alice: gateOf('alice'), bob: gateOf('bob') });
      },
    },
    'a socket of the driver`s past a gate': {
      check: 'driver_sockets',
      breaks: () => sockets({ alice: `unix://${alice().socket}`, bob: gateOf('bob') }),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(
          `"failed | driver_sockets | socket "alice" of the podman driver is /run/user/2001/podman/podman.sock, alice's own Podman: without the gate nothing waits until an allocation is ready; set socket_path = "unix://DIRECTORY/agent/gate/alice.sock"; no socket of the podman driver leads to DIRECTORY/agent/gate/alice.sock, so that no task can run as alice: in plugin "nomad-driver-podman" of Nomad's configuration socket "alice" is /run/user/2001/podman/podman.sock; set socket_path = "unix://DIRECTORY/agent/gate/alice.sock", and restart Nomad"`,
        ),
      edits: setSocketPath,
    },
    'a driver that gives up before the gate': {
      check: 'driver_timeout',
      breaks: () => driverIs({}, { client_http_timeout: '20s' }),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(
          `"failed | driver_timeout | client_http_timeout is 20 s, gate.timeout 30 s: the driver gives up before the gate has answered, and its reason is lost; set gate.timeout below client_http_timeout of plugin "nomad-driver-podman""`,
        ),
      edits: () => stage.configure({ gate: { timeout: '15s' } }),
    },
    'a driver that takes no volumes': {
      check: 'driver_volumes',
      breaks: () => driverIs({}, { volumes: [{ enabled: false }] }),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(
          `"warning | driver_volumes | volumes { enabled = false } in plugin "nomad-driver-podman": tasks cannot name paths of the host in config.volumes; what Nomad mounts is not affected"`,
        ),
      edits: () => {
        takeBack();
        driverIs({}, { volumes: [{ enabled: true }] });
      },
    },
    'CNI plugins that are not there': {
      check: 'cni_plugins',
      breaks: () => mountOver(PLUGIN_DIR),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(
          `"warning | cni_plugins | loopback, bridge, firewall, portmap not in /usr/lib/cni: no group can have network mode bridge; install the CNI plugins there, or set cni_path of Nomad's client"`,
        ),
      edits: () => unmount(PLUGIN_DIR),
    },
    'a user without an account': {
      check: 'account',
      user: 'bob',
      breaks: () => {
        for (const file of ['/etc/passwd', '/etc/group']) {
          writeFileSync(file, readFileSync(file, 'utf8').replace(/^bob:.*\n/m, ''));
        }
      },
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(`
        "failed | bob | account | there is none on this host
        # useradd --create-home bob"
      `),
    },
    'a user who is root': {
      check: 'account',
      user: 'root',
      breaks: () => usersAre('alice', 'bob', 'root'),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(`"failed | root | account | tasks never run as root; name another user"`),
      edits: () => usersAre('alice', 'bob'),
    },
    'a user below min_uid': {
      check: 'account',
      user: 'alice',
      breaks: () => stage.configure({ min_uid: 2002 }),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(
          `"failed | alice | account | uid 2001 is below min_uid, 2002; name another user, or set min_uid"`,
        ),
      edits: () => stage.configure({ min_uid: 2001 }),
    },
    'a user without subordinate ids': {
      check: 'subordinate_ids',
      user: 'bob',
      breaks: () => giveIds(bob(), 0),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(`
        "failed | bob | subordinate_ids | user bob has no range in /etc/subuid and /etc/subgid; ask the operator to run: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 bob
        # usermod --add-subuids 100000-165535 --add-subgids 100000-165535 bob"
      `),
    },
    'a user with few subordinate ids': {
      check: 'subordinate_ids',
      user: 'bob',
      breaks: () => giveIds(bob(), 1000),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(
          `"warning | bob | subordinate_ids | 1000, nobody else's: images with ids above that do not run; give 65536"`,
        ),
      edits: () => giveIds(bob(), 65_536),
    },
    'users whose subordinate ids overlap': {
      check: 'subordinate_ids',
      user: 'bob',
      breaks: () => appendFileSync('/etc/subuid', rangeOf(alice(), 65_536).replace('alice', 'bob')),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(`
        "failed | bob | subordinate_ids | subordinate uids 300000-365535 of user bob overlap those of alice, 300000-365535: each could act as the other; ask the operator to run: systemctl stop user-2002.slice; usermod --del-subuids 300000-365535 --add-subuids 165536-231071 bob; systemctl start user@2002.service; then, as bob: podman system migrate
        # systemctl stop user-2002.slice; usermod --del-subuids 300000-365535 --add-subuids 165536-231071 bob; systemctl start user@2002.service"
      `),
      plays: {
        'systemctl stop user-2002.slice': () => bob().stopService(),
        'systemctl start user@2002.service': ownPodman,
      },
    },
    'a Podman without its socket': {
      check: 'podman_socket',
      user: 'bob',
      breaks: async () => {
        await bob().stopService();
        rmSync(bob().socket, { force: true });
      },
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(`
        "failed | bob | podman_socket | nothing listens on /run/user/2002/podman/podman.sock
        # systemctl --user --machine=bob@ enable --now podman.socket"
      `),
      plays: { 'systemctl --user --machine=bob@ enable --now podman.socket': ownPodman },
    },
    'a socket at which somebody else listens': {
      check: 'podman_socket',
      user: 'bob',
      breaks: () => podmanIs({ rootless: false }, 0),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(`
        "failed | bob | podman_socket | uid 0 listens on /run/user/2002/podman/podman.sock, not bob
        # systemctl --user --machine=bob@ restart podman.socket podman.service"
      `),
      plays: { [RESTART]: ownPodman },
    },
    'a Podman that answers nothing': {
      check: 'podman',
      user: 'bob',
      breaks: () => bob().hangService(),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(`
        "failed | bob | podman | GET /v1.0.0/libpod/info at the Podman of user bob: no answer within 5 s
        # systemctl --user --machine=bob@ restart podman.socket podman.service"
      `),
      plays: { [RESTART]: ownPodman },
    },
    'a Podman that is old': {
      check: 'podman',
      user: 'bob',
      breaks: () => podmanIs({ version: '3.4.4' }),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(
          `"warning | bob | podman | 3.4.4: nomad-rootless is tested with 4.3 and later; install a later Podman"`,
        ),
      edits: ownPodman,
    },
    'a Podman that is not rootless': {
      check: 'podman',
      user: 'bob',
      breaks: () => podmanIs({ rootless: false }),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(
          `"failed | bob | podman | 5.4.2 is not rootless: have the user's own Podman listen there"`,
        ),
      edits: ownPodman,
    },
    'containers that start in no group network': {
      check: 'containers_conf',
      user: 'alice',
      breaks: () => alice().configure('userns = "auto"\ndefault_sysctls = ["net.ipv4.ping_group_range=0 0"]'),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(
          `"warning | alice | containers_conf | userns = "auto" beside net.ipv4.ping_group_range=0 0 of default_sysctls: containers do not start in a group network; set default_sysctls = [] below [containers] of ~/.config/containers/containers.conf, and restart podman.service"`,
        ),
      edits: (found) => alice().configure(`userns = "auto"\n${/set (default_sysctls = \[\]) below/.exec(found)?.[1]}`),
    },
    'a containers.conf that cannot be read': {
      check: 'containers_conf',
      user: 'alice',
      breaks: () => writeFileSync(containersConf(), '[containers\n'),
      says: (lines) =>
        expect(lines).toMatchInlineSnapshot(`
        "failed | alice | containers_conf | DIRECTORY/home/alice/.config/containers/containers.conf is not a valid containers.conf(5): Invalid TOML document: incomplete key-value: cannot find end of key

        1:  [containers
             ^
        "
      `),
      edits: () => writeFileSync(containersConf(), '[containers]\n[engine]\ncgroup_manager = "cgroupfs"\n'),
    },
  };

  test.each(Object.entries(FAULTS))('%s', async (_, { check, user, breaks, says, edits, plays = {} }) => {
    await breaks();
    const wrong = (await stage.checks()).find((one) => one.id === check && one.user === user);
    if (!wrong) throw new Error(`doctor makes no check ${check} of ${user ?? 'the host'}`);
    says(told(wrong));
    if (edits) {
      expect(wrong.remedy).toBeUndefined();
      await edits(wrong.found);
    } else {
      const called = await stage.run(z.string().parse(wrong.remedy));
      expect(called).toEqual(Object.keys(plays));
      for (const play of Object.values(plays)) await play();
    }
    await expect.poll(async () => standOf(await stage.checks()), PATIENCE).toEqual(good);
    takeBack();
  });

  test('what is mended leaves nothing for the agent to warn of', async () => {
    await expect.poll(async () => (await stage.checks()).find(({ id }) => id === 'agent')?.verdict).toBe('ok');
  });
});
