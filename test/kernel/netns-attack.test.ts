import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import type { Handle } from '../../src/linux/handle.ts';
import { makeNetworkNamespace } from '../../src/linux/net/make-network-namespace.ts';
import { NETLINK } from '../../src/linux/net/netlink-protocol.ts';
import { NetlinkSocket } from '../../src/linux/net/netlink-socket.ts';
import { OBJECT, readObjects, toRemove } from '../../src/linux/net/rtnetlink.ts';
import { readSysctls } from '../../src/linux/net/sysctl.ts';
import { openOwnNamespace, ProcessHandle } from '../../src/linux/process.ts';
import { readConfAsUser } from '../../src/linux/read-as-user.ts';
import { NetnsDirectory } from '../../src/resources/netns/netns-directory.ts';
import { outcomeOf, source } from '../support/agent-code.ts';
import { runCommand } from '../support/command.ts';
import { wantedNetns } from '../support/netns-resource.ts';
import { ALICE, ID, NETNS_FILE, NetnsStage } from '../support/netns-stage.ts';
import { dumpNetwork } from '../support/network-dump.ts';
import { requires } from '../support/requires.ts';
import { until } from '../support/until.ts';

const MIGRATE = fileURLToPath(new URL('../support/migrate-netns.ts', import.meta.url));
const ALICES = { uid: ALICE, gid: ALICE };
const UNIT = fileURLToPath(new URL('../../deploy/systemd/nomad-rootless.service', import.meta.url));

requires('root', 'sandbox')('a user who shapes the making of her network namespace', () => {
  let stage: NetnsStage;

  beforeEach(async () => {
    stage = await NetnsStage.set();
  });
  afterEach(() => stage.strike());

  const migrate = async () => {
    for (const step of await stage.newResource().plan(wantedNetns(ID, ALICE))) await step.apply();
  };
  const expectUntouched = (before: unknown) => {
    expect(dumpNetwork(ID)).toEqual(before);
    expect(stage.owner()).toBe(0);
    expect(stage.journal()).toEqual([]);
  };

  test('finds in the process that makes it nothing that is not hers', async () => {
    process.env['NOMAD_TOKEN'] = 'secret';
    const user = userNamespaceOf(stage.alice.pid);
    // It holds still as soon as it has run: stopped from outside, as she could do herself. It may have ended by then.
    const seen = await until('it was caught at work', async () => {
      const making = makeNetworkNamespace(user, ALICES);
      const pid = await until('the process is there', () => childrenOf(process.pid, 'nsenter|unshare|grep')[0]);
      const caught = lookAtStopped(pid);
      (await making).netns.close();
      return caught;
    });
    user.close();
    delete process.env['NOMAD_TOKEN'];
    expect(seen).toMatchObject({
      uids: Array(4).fill(ALICE).join('\t'),
      groups: '',
      environment: '',
      session: String(seen.pid),
    });
    const others = seen.files.filter((file) => !/^(pipe|socket|user):|^\/proc|^\/usr|^\/lib/.test(file));
    expect(others).toEqual([]);
  });

  // On a busy machine pkill can come too late; then nothing was tried.
  test('cannot hold it up: stopped, the process is killed, and nothing was touched', { retry: 5 }, async () => {
    stage.makeBridged();
    const before = dumpNetwork(ID);
    const stopper = spawn('sh', ['-c', `while :; do pkill -STOP -u ${ALICE} -x 'nsenter|unshare|grep'; done`]);
    onTestFinished(() => void stopper.kill('SIGKILL'));
    await expect(migrate()).rejects.toMatchObject({ code: 'no_network_namespace', retryable: true });
    stopper.kill('SIGKILL');
    await once(stopper, 'exit');
    await until('it has ended', () => childrenOf(process.pid, 'nsenter|unshare|grep').length === 0);
    expectUntouched(before);
    await migrate();
    expect(stage.owner()).toBe(ALICE);
  });

  test('cannot stop the agent by stopping the process before it runs its program', async () => {
    const stopper = await startAs(ALICE, STOPPER);
    onTestFinished(() => void stopper.kill('SIGKILL'));
    const code = `const { makeNetworkNamespace } = await import(${source('linux/net/make-network-namespace.ts')});
      const { ProcessHandle } = await import(${source('linux/process.ts')});
      using user = ProcessHandle.open(${stage.alice.pid}).openNamespace('user');
      for (let turn = 0; turn < 20; turn++) {
        const made = await makeNetworkNamespace(user, { uid: ${ALICE}, gid: ${ALICE} }).catch(({ code }) => ({ code }));
        made.netns?.close();
        if (made.code !== undefined) console.log(made.code);
      }`;
    // Whether she is in time to stop it is hers.
    expect(await outcomeOf(code)).toMatch(/^(no_network_namespace\n|user_child_left\n)*came back$/);
    stopper.kill('SIGKILL');
  });

  test.each([
    ['makes it', (user: Handle) => makeNetworkNamespace(user, ALICES).then(({ netns }) => netns.close()), undefined],
    // That it has ended is kept from us.
    ['reads her configuration', () => readConfAsUser(ALICES, ['/usr/bin']), 'user_files_unreadable'],
  ])('cannot keep us waiting by tracing the process that %s', async (_, run, comes) => {
    const tracer = await startAs(ALICE, TRACER);
    onTestFinished(() => void tracer.kill('SIGKILL'));
    let isTracing = false;
    tracer.stdout.once('data', () => {
      isTracing = true;
    });
    using user = userNamespaceOf(stage.alice.pid);
    let outcome: unknown;
    while (!isTracing) outcome = await run(user).catch(({ code }) => code);
    expect(outcome).toBe(comes);
    tracer.kill('SIGKILL');
    await until('it is ours again', () => childrenOf(process.pid, 'nsenter|unshare|grep').length === 0);
  });

  test('who may make none is told so, and nothing was touched', async () => {
    stage.makeBridged();
    const before = dumpNetwork(ID);
    await stage.alice.run('echo 0 >/proc/sys/user/max_net_namespaces');
    const message = /unshare failed: No space left on device/;
    await expect(migrate()).rejects.toMatchObject({ code: 'no_network_namespace', message });
    expectUntouched(before);
  });

  test('cannot make one hers that is not: the process of another user namespace is refused', async () => {
    const ours = openOwnNamespace('user');
    // In the host's own user namespace there is nothing to enter: what comes out is not of a user's.
    await expect(makeNetworkNamespace(ours, { uid: ALICE, gid: ALICE })).rejects.toMatchObject({
      code: 'no_network_namespace',
    });
    ours.close();
  });

  test('cannot answer us in the place of the kernel', async () => {
    await migrate();
    using netns = open();
    using route = NetlinkSocket.open(netns, NETLINK.ROUTE);
    const rules = await readObjects(route, OBJECT.rule);
    const [rule] = rules;
    if (!rule) throw new Error('no rule');
    // A message that says "done" for every sequence number to come, to every port that our socket could have.
    const liar = spawn('nsenter', [`--net=${NETNS_FILE}`, 'python3', '-c', LIAR, String(process.pid)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    await once(createInterface({ input: liar.stdout }), 'line');
    const twice = [toRemove(OBJECT.rule, rule, 'a rule'), toRemove(OBJECT.rule, rule, 'a rule that is gone')];
    const [first, second] = await route.request(twice);
    expect(first).toBeUndefined();
    expect(second).toMatchObject({ errno: 2 });
    liar.kill('SIGKILL');
  });

  test('cannot send us anything at all, and so neither keep us busy nor our socket full', async () => {
    await migrate();
    using netns = open();
    using route = NetlinkSocket.open(netns, NETLINK.ROUTE);
    await readObjects(route, OBJECT.rule);
    const sent = await runCommand(['nsenter', `--net=${NETNS_FILE}`, 'python3', '-c', SEND_TO_ALL]);
    expect(sent).toEqual({ code: 0, stdout: 'ECONNREFUSED\n', stderr: '' });
  });

  test('cannot fill our memory with what she puts into it', async () => {
    await migrate();
    const add = 'for i in $(seq 0 255); do for j in $(seq 0 79); do echo "route add 10.$i.$j.0/24 dev lo"; done; done';
    const fill = await stage.alice.run(`${add} | nsenter --net=${NETNS_FILE} sh -c 'ip link set lo up; ip -batch -'`);
    expect(fill).toMatchObject({ code: 0 });
    await stage.restartPodman();
    await expect(migrate()).rejects.toMatchObject({ code: 'network_too_large' });
    await stage.alice.stop();
  });

  test.each([
    [
      'sets',
      'nft add table ip t; for s in $(seq 40); do (echo "add set ip t s$s { type ipv4_addr; }"; for i in $(seq 8); do ' +
        'echo "add element ip t s$s { $(for j in $(seq 250); do echo "10.$s.$i.$j,"; done) }"; done) | nft -f -; done',
    ],
    [
      'tables of iptables-legacy',
      'export XTABLES_LOCKFILE=/dev/null; (echo "*filter"; for i in $(seq 9000); do echo "-A INPUT -s 10.1.1.1"; done; echo COMMIT) | iptables-legacy-restore',
    ],
  ])('cannot fill our memory with %s either', async (_, fill) => {
    await migrate();
    writeFileSync(`${stage.base}/fill`, fill);
    const filled = await stage.alice.run(`nsenter --net=${NETNS_FILE} sh ${stage.base}/fill`);
    expect(filled).toMatchObject({ code: 0 });
    await stage.restartPodman();
    await expect(migrate()).rejects.toMatchObject({ code: 'network_too_large' });
  });

  test('cannot keep us busy with links', async () => {
    await migrate();
    const add = 'for i in $(seq 20); do ip link add a$i type veth peer name b$i; done';
    expect(await stage.alice.run(`nsenter --net=${NETNS_FILE} sh -c '${add}'`)).toMatchObject({ code: 0 });
    await stage.restartPodman();
    await expect(migrate()).rejects.toMatchObject({
      code: 'network_not_carriable',
      message: /has 41 links, more than 32/,
    });
  });

  test('cannot keep us busy with links either that come after they were counted', async () => {
    await migrate();
    const add = 'for i in $(seq 40); do echo "link add a$i type veth peer name b$i"; done | ip -batch -';
    expect(await stage.alice.run(`nsenter --net=${NETNS_FILE} sh -c '${add}'`)).toMatchObject({ code: 0 });
    using netns = open();
    await expect(async () => readSysctls(netns)).rejects.toMatchObject({ code: 'network_too_large' });
  });

  test('is served by an agent that has no more rights than the systemd unit gives it', async () => {
    stage.makeBridged();
    const before = dumpNetwork(ID);
    const lines = readFileSync(UNIT, 'utf8').match(/^CapabilityBoundingSet=.+$/gm) ?? [];
    const capabilities = lines.flatMap((line) => line.slice(line.indexOf('=') + 1).split(' '));
    const kept = capabilities.map((name) => `+${name.replace('CAP_', '').toLowerCase()}`);
    const limited = ['setpriv', '--no-new-privs', `--bounding-set=-all,${kept.join(',')}`, '--inh-caps=-all'];
    const argv = [...limited, process.execPath, MIGRATE, stage.base, ID, String(ALICE), 'never'];
    expect(await runCommand(argv, { cwd: '/' })).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(dumpNetwork(ID)).toEqual(before);
    expect(stage.owner()).toBe(ALICE);
  });

  function open(): Handle {
    const netns = new NetnsDirectory().open(ID);
    if (!netns) throw new Error('no network namespace');
    return netns;
  }
});

/** Runs a program of perl's as a user outside of all namespaces; it has printed a line when this returns. */
async function startAs(uid: number, program: string): Promise<ChildProcessByStdio<null, Readable, null>> {
  const become = [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'];
  const child = spawn('setpriv', [...become, 'perl', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
    cwd: '/',
  });
  await once(createInterface({ input: child.stdout }), 'line');
  return child;
}

function sessionOf(pid: number): string | undefined {
  return readFileSync(`/proc/${pid}/stat`, 'latin1')
    .replace(/^.*\) /s, '')
    .split(' ')[3];
}

/** Children of a process whose program has one of these names. */
function childrenOf(pid: number, names: string): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  return children.filter((child) => new RegExp(`^(${names})$`).test(commandOf(child)));
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return ''; // it has ended
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return 'pipe: closed meanwhile';
  }
}

/** Every process that may be signalled, from its first moment: stopped while it is node, and left so, let go otherwise. */
const FIND = `
use POSIX; $| = 1; open my $load, '<', '/proc/loadavg'; print "looking\\n";
sub latest { sysseek $load, 0, 0; sysread $load, my $text, 100; my ($last) = $text =~ /(\\d+)\\s*$/; ($last - 1 .. $last + 2) }
sub text { open my $file, '<', $_[0] or return ''; <$file> // '' }
`;
const STOPPER = `${FIND}
while (1) {
  for my $pid (grep { $_ != $$ && !$done{$_} } latest()) {
    next unless kill 'STOP', $pid;
    $done{$pid} = 1;
    my $state;
    do { $state = text("/proc/$pid/stat") } while $state ne '' && $state !~ /\\) [TZX]/;
    exit if $state =~ /\\((node|MainThread)\\) T/;
    kill 'CONT', $pid;
  }
}`;
/** PTRACE_SEIZE of the process that makes a network namespace, and never a wait for it. The number of ptrace(2) is not the same everywhere. */
const TRACER = `${FIND}
my $ptrace = (uname())[4] eq 'x86_64' ? 101 : 117;
while (1) {
  for my $pid (latest()) {
    next unless text("/proc/$pid/comm") =~ /^(nsenter|unshare|grep)$/;
    if (syscall($ptrace, 0x4206, $pid, 0, 0) == 0) { print "tracing\\n"; sleep 1000 }
  }
}`;

/** Sends to each rtnetlink socket of a network namespace but the kernel's, and says what comes of it. */
const SEND_TO_ALL = `
import errno, os, socket, struct
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
for line in open('/proc/net/netlink').readlines()[1:]:
    _, protocol, port, *_ = line.split()
    if protocol != '0' or port == '0': continue
    try:
        print(s.sendto(struct.pack('=IHHII', 16, 3, 0, 0, 0), (int(port), 0)), 'bytes taken')
    except OSError as error:
        print(errno.errorcode[error.errno])
`;

/** Sends acknowledgements to a netlink port and to some of those behind it, over and over; says so when it has begun. */
const LIAR = `
import socket, struct, sys
port = int(sys.argv[1])
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
said = False
while True:
    for sequence in range(1, 64):
        message = struct.pack('=IHHII', 36, 2, 0, sequence, 0) + struct.pack('=i', 0) + bytes(16)
        try:
            s.sendto(message, (port, 0))
        except OSError as error:
            if error.errno != 111 and error.errno != 105: raise
    if not said: print('lying', flush=True); said = True
`;

function userNamespaceOf(pid: number): Handle {
  using process = ProcessHandle.open(pid);
  if (!process) throw new Error(`there is no process ${pid}`);
  return process.openNamespace('user');
}

/** What a process has; undefined where it has ended. */
function lookAtStopped(pid: number) {
  try {
    process.kill(pid, 'SIGSTOP');
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const found = {
      pid,
      uids: /^Uid:\s+(.*)$/m.exec(status)?.[1] ?? '',
      groups: /^Groups:[ \t]*(.*?)[ \t]*$/m.exec(status)?.[1] ?? '',
      environment: readFileSync(`/proc/${pid}/environ`, 'latin1'),
      files: readdirSync(`/proc/${pid}/fd`).map((fd) => linkOf(`/proc/${pid}/fd/${fd}`)),
      session: sessionOf(pid),
    };
    process.kill(pid, 'SIGCONT');
    return found;
  } catch (error) {
    if (error instanceof Error && 'code' in error && ['ESRCH', 'ENOENT'].includes(String(error.code))) return undefined;
    throw error;
  }
}
