import { execFileSync } from 'node:child_process';
import { existsSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { afterAll, afterEach, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { AgentProcess } from '../support/agent.ts';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { requires } from '../support/requires.ts';
import { createSandbox, type Sandbox } from '../support/sandbox.ts';
import { type StandInNomad, startStandInNomad } from '../support/stand-in-nomad.ts';
import { until } from '../support/until.ts';
import { agentSockets, driverFailure, expectNothingLeft, jobOf, leftovers, runJob, shell } from './cases.ts';
import { letAgentWin, startWithoutGates } from './watch-ordering.ts';

const STAYS = 'echo up >/alloc/data/x; echo up; exec sleep 1000';

requires(
  'root',
  'sandbox',
  'podman',
)('what goes wrong on a real host', () => {
  let environment: Environment<StandInNomad>;

  beforeAll(async () => {
    environment = await startEnvironment({
      startNomad: (options) => startStandInNomad({ ...options, driverGivesFifos: false }),
      config: { gate: { timeout: '5s' } },
    });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  test('a driver older than 0.6.5 gets its log lines all the same', async () => {
    const { nomad } = environment;
    const allocation = await runJob(nomad, jobOf('alice', 'old-driver', shell('t', 'alice', 'echo out; echo err >&2')));
    await allocation.waitForLog('t', 'out');
    await allocation.waitForLog('t', 'err');
  });

  test('a Podman that was pulled down is found again on the next create', async () => {
    const { nomad, sandbox } = environment;
    const alice = sandbox.user('alice');
    const before = await runJob(nomad, jobOf('alice', 'before', shell('t', 'alice', STAYS)));
    await before.waitForLog('t', 'up');
    const pause = alice.pausePid();
    await alice.stopService();
    if (pause !== undefined) process.kill(pause, 'SIGKILL');
    await until('the pause process is gone', () => alice.pausePid() === undefined);
    await alice.startService();
    expect(alice.pausePid()).not.toBe(pause);
    const after = await runJob(nomad, jobOf('alice', 'after', shell('t', 'alice', STAYS)));
    await after.waitForLog('t', 'up');
  });

  test('a Podman that does not run is told of, with how to start it', async () => {
    const { nomad, sandbox } = environment;
    const bob = sandbox.user('bob');
    await bob.stopService();
    const pause = bob.pausePid();
    if (pause !== undefined) process.kill(pause, 'SIGKILL');
    const allocation = await runJob(nomad, jobOf('bob', 'no-podman', shell('t', 'bob', 'true')));
    expect(await driverFailure(allocation, 't')).toMatch(/systemctl --user enable --now podman.socket/);
    await bob.startService();
  });

  test("a podman.sock that leads to another user's is not used", async () => {
    const { nomad, sandbox } = environment;
    const [alice, bob] = [sandbox.user('alice'), sandbox.user('bob')];
    renameSync(bob.socket, `${bob.socket}.real`);
    symlinkSync(alice.socket, bob.socket);
    try {
      const allocation = await runJob(nomad, jobOf('bob', 'redirected', shell('t', 'bob', 'true')));
      expect(await driverFailure(allocation, 't')).toMatch(/cannot reach the Podman of user bob/);
      expect(await alice.podman(['ps', '--all', '--format', '{{.Names}}'])).not.toContain(allocation.id);
    } finally {
      renameSync(`${bob.socket}.real`, bob.socket);
    }
  });

  test('a user that the configuration does not know is refused with the remedy', async () => {
    const { nomad, sandbox } = environment;
    sandbox.addUser('carol');
    const allocation = await runJob(nomad, jobOf('carol', 'of-carol', shell('t', 'alice', 'true')));
    expect(await driverFailure(allocation, 't')).toMatch(/user carol has no gate on this node .*ask the operator/);
  });

  test('while Nomad is away what is known is served, what is not waits and is told so, and nothing is taken away', async () => {
    const { nomad, agent, sandbox } = environment;
    const known = await runJob(nomad, jobOf('alice', 'known', shell('t', 'alice', STAYS)));
    await known.waitForLog('t', 'up');
    for (const endpoint of ['allocation', 'node-allocations', 'event-stream'] as const) {
      nomad.api.setFault(endpoint, { status: 500, text: 'No cluster leader' });
    }
    nomad.api.cutConnections();
    const unknown = await runJob(nomad, jobOf('alice', 'unknown', shell('t', 'alice', 'true')));
    expect(await driverFailure(unknown, 't')).toMatch(/status code: 504: .*was not ready .*No cluster leader/);
    const seen = ['podman', '--cgroup-manager=cgroupfs', 'unshare', 'cat', `${known.directory}/alloc/data/x`];
    expect((await sandbox.user('alice').run(seen)).stdout.trim()).toBe('up');
    for (const endpoint of ['allocation', 'node-allocations', 'event-stream'] as const) nomad.api.setFault(endpoint);
    await until('the agent is ready', async () => JSON.parse((await agent.command(['status', '--json'])).stdout).ready);
  });

  test('allocations that went while the agent was dead leave nothing once it is back', async () => {
    const { nomad, agent } = environment;
    const allocation = await nomad.runJob(jobOf('alice', 'orphan', shell('t', 'alice', STAYS)));
    await allocation.waitForLog('t', 'up');
    await allocation.waitFor('running');
    await agent.stop('SIGKILL');
    // The driver cannot reach Podman through a dead gate; the container goes with its allocation all the same.
    await environment.sandbox.user('alice').podman(['rm', '--force', '--time', '0', `t-${allocation.id}`]);
    await agent.start();
    await allocation.gc();
    await expectNothingLeft(environment);
  });

  test('stopped by SIGTERM the agent leaves running tasks as they are, and its sockets go', async () => {
    const { nomad, agent } = environment;
    const allocation = await runJob(nomad, jobOf('alice', 'stays', shell('t', 'alice', STAYS)));
    await allocation.waitForLog('t', 'up');
    await allocation.waitFor('running');
    expect(await agent.stop()).toBe(0);
    expect(agentSockets(environment)).toEqual([]);
    expect(await environment.sandbox.user('alice').podman(['ps', '--format', '{{.Names}}'])).toContain(allocation.id);
    await agent.start();
    expect((await allocation.exec('t', ['cat', '/alloc/data/x'])).stdout.trim()).toBe('up');
  });

  test('cleanup says what there is, refuses beside a running agent, and takes everything away', async () => {
    const { nomad, agent } = environment;
    const allocation = await nomad.runJob(jobOf('alice', 'cleaned', shell('t', 'alice', STAYS)));
    await allocation.waitForLog('t', 'up');
    await allocation.waitFor('running');
    const refused = await agent.command(['cleanup']);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('systemctl stop nomad-rootless') });
    await agent.stop();
    const dry = JSON.parse((await agent.command(['cleanup', '--dry-run', '--json'])).stdout);
    expect(dry.leftovers.map(({ kind }: { kind: string }) => kind)).toEqual(expect.arrayContaining(['acl', 'view']));
    expect((await leftovers(environment)).filter((one) => one.startsWith('acl'))).not.toEqual([]);
    expect((await agent.command(['cleanup'])).code).toBe(0);
    // The task still runs, with Nomad's own mounts for it.
    const ours = (await leftovers(environment)).filter((one) => !/\/(secrets|private) /.test(one));
    expect(ours).toEqual([]);
    expect((await agent.command(['cleanup', '--dry-run'])).stdout).toBe('nothing of nomad-rootless is on this host\n');
    await agent.start();
    await allocation.gc();
    await expectNothingLeft(environment);
  });

  test('the agent starts before Nomad, and a create waits at the gate until Nomad answers', async () => {
    const { nomad, agent } = environment;
    await agent.stop();
    await nomad.api.stop();
    await agent.startUnready();
    await until('the gate is open', () => existsSync(agent.gateSocket('alice')));
    const status = JSON.parse((await agent.command(['status', '--json'])).stdout);
    expect(status).toMatchObject({ ready: false, reasons: [expect.stringContaining('Nomad')] });
    await nomad.api.start();
    const allocation = await runJob(nomad, jobOf('alice', 'early', shell('t', 'alice', STAYS)));
    await allocation.waitForLog('t', 'up');
  });
});

requires(
  'root',
  'sandbox',
  'podman',
)('an agent that cannot begin yet', () => {
  const TOKEN = 'secret-token';
  let stack: AsyncDisposableStack;
  let sandbox: Sandbox;
  let nomad: StandInNomad;
  let agent: AgentProcess;

  beforeAll(async () => {
    stack = new AsyncDisposableStack();
    sandbox = stack.use(await createSandbox({ users: ['alice'] }));
    const gate = new AgentProcess(sandbox).gateSocket('alice');
    const dataDir = join(sandbox.directory, 'nomad');
    nomad = await startStandInNomad({ dataDir, sockets: { alice: gate }, tokens: { [TOKEN]: 'all' } });
    stack.defer(() => nomad.stop());
  });
  afterAll(() => stack?.disposeAsync());

  /** Starts it with these keys of `nomad` beside the address. */
  async function start(keys: Readonly<Record<string, string>>): Promise<void> {
    agent = new AgentProcess(sandbox);
    onTestFinished(async () => void (await agent.stop()));
    agent.configure({ nomad: { address: nomad.address, ...keys }, users: { alice: {} }, gate: { timeout: '2s' } });
    await agent.startUnready();
    await until('the gate is open', () => existsSync(agent.gateSocket('alice')));
  }

  async function expectReason(reason: RegExp): Promise<void> {
    const readyz = await until('readyz says why', async () => {
      const said = await agent.readyz();
      return reason.test(said.text) && said;
    });
    expect(readyz.status).toBe(503);
    const status = JSON.parse((await agent.command(['status', '--json'])).stdout);
    expect(status).toMatchObject({ ready: false, reasons: [expect.stringMatching(reason)] });
  }

  async function expectHeldAndRefused(reason: RegExp): Promise<void> {
    const allocation = await runJob(nomad, jobOf('alice', 'held', shell('t', 'alice', 'true')));
    const failure = await driverFailure(allocation, 't');
    expect(failure).toMatch(/status code: 504/);
    expect(failure).toMatch(reason);
  }

  async function expectServes(): Promise<void> {
    await agent.waitUntilReady();
    const allocation = await runJob(nomad, jobOf('alice', 'served', shell('t', 'alice', STAYS)));
    await allocation.waitForLog('t', 'up');
  }

  test('because nomad.data_dir is wrong: the gate stays open, and everybody is told', async () => {
    await start({ token: TOKEN, data_dir: join(sandbox.directory, 'elsewhere') });
    const reason = /Nomad's alloc dir .*elsewhere\/alloc cannot be used; .*ENOENT/;
    await expectReason(reason);
    const { warnings } = JSON.parse((await agent.command(['status', '--json'])).stdout);
    const said = /^node: nomad.data_dir is .*elsewhere .*Nomad says .*\/nomad$/;
    expect(warnings).toContainEqual(expect.stringMatching(said));
    await expectHeldAndRefused(reason);
  });

  test('because the data dir is missing, then a file, serves as soon as it is there', async () => {
    renameSync(nomad.dataDir, `${nomad.dataDir}.away`);
    try {
      await start({ token: TOKEN });
      await expectReason(/alloc dir .*nomad\/alloc cannot be used; .*ENOENT/);
      writeFileSync(nomad.dataDir, 'no directory');
      await expectReason(/alloc dir .*nomad\/alloc cannot be used; .*ENOTDIR/);
    } finally {
      rmSync(nomad.dataDir, { force: true });
      renameSync(`${nomad.dataDir}.away`, nomad.dataDir);
    }
    await expectServes();
  });

  test('because a certificate and the token are missing, serves as soon as both are there', async () => {
    const [ca, token] = [join(sandbox.directory, 'ca.pem'), join(sandbox.directory, 'token')];
    await start({ token_file: token, ca_cert: ca });
    await expectReason(/token: expected a file, got nothing/);
    await expectHeldAndRefused(/token: expected a file, got nothing/);
    writeFileSync(token, '\n');
    await expectReason(/token: expected a token, got an empty file/);
    writeFileSync(token, TOKEN);
    await expectReason(/ca.pem: expected a file, got nothing/);
    writeFileSync(ca, rootCertificates[0] ?? '');
    await expectServes();
  });
});

requires(
  'root',
  'sandbox',
  'podman',
)('without gates (ordering: watch)', () => {
  let environment: Environment<StandInNomad>;

  // Each its own: what the agent has shown a user stays while it is away.
  beforeEach(async () => {
    environment = await startWithoutGates();
  });
  afterEach(() => environment?.[Symbol.asyncDispose]());

  test('no gate is open, and a task is prepared by the first sign of its allocation', async () => {
    letAgentWin(environment);
    const { nomad, agent } = environment;
    expect(existsSync(agent.gateSocket('alice'))).toBe(false);
    const allocation = await runJob(nomad, jobOf('alice', 'watched', shell('t', 'alice', STAYS)));
    await allocation.waitForLog('t', 'up');
    expect((await agent.status()).allocations).toMatchObject([{ id: allocation.id, state: 'ready', late: false }]);
  });

  test('a task that comes before its allocation is ready fails, and a container that ran before is counted as late', async () => {
    const { nomad, agent, sandbox } = environment;
    await agent.stop();
    const unprepared = await runJob(nomad, jobOf('alice', 'unprepared', shell('t', 'alice', STAYS)));
    expect(await driverFailure(unprepared, 't')).toMatch(/permission denied/);
    const alice = sandbox.user('alice');
    const { stdout } = await alice.run(['id', '-u']);
    execFileSync('setfacl', ['--modify', `u:${stdout.trim()}:--x`, nomad.dataDir]);
    const allocation = await runJob(nomad, jobOf('alice', 'late', shell('t', 'alice', STAYS)));
    await allocation.waitFor('running');
    execFileSync('setfacl', ['--remove-all', nomad.dataDir]);
    await agent.start();
    await until('it is counted', async () => (await agent.metric('nomad_rootless_late_preparations_total')) === 1);
    const status = JSON.parse((await agent.command(['status', '--json', allocation.id])).stdout);
    expect(status.allocations).toMatchObject([{ id: allocation.id, late: true, state: 'ready' }]);
  });
});

requires(
  'root',
  'sandbox',
  'podman',
)('two users in one allocation', () => {
  let environment: Environment<StandInNomad>;

  beforeAll(async () => {
    environment = await startEnvironment({ startNomad: startStandInNomad });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  test("share /alloc, and neither reads the other's task directory", async () => {
    const { nomad, sandbox } = environment;
    const task = (user: string) =>
      shell(user, user, `echo ${user} >/local/own; echo ${user} >/alloc/data/${user}; echo up; exec sleep 1000`, {
        meta: { podman_user: user },
      });
    const allocation = await runJob(nomad, { id: 'both', tasks: [task('alice'), task('bob')] });
    await Promise.all(['alice', 'bob'].map((name) => allocation.waitForLog(name, 'up')));
    const read = async (user: string, path: string) => {
      const argv = ['podman', '--cgroup-manager=cgroupfs', 'unshare', 'cat', `${allocation.directory}/${path}`];
      return (await sandbox.user(user).run(argv)).stdout.trim();
    };
    expect(await read('alice', 'alice/local/own')).toBe('alice');
    expect(await read('bob', 'alice/local/own')).toBe('');
    expect(await read('bob', 'bob/local/own')).toBe('bob');
    expect(await read('alice', 'bob/local/own')).toBe('');
    expect(await read('alice', 'alloc/data/bob')).toBe('bob');
    expect(await read('bob', 'alloc/data/alice')).toBe('alice');
    await allocation.gc();
    await expectNothingLeft(environment);
  });
});
