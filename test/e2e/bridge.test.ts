import { execFileSync } from 'node:child_process';
import { basename } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { requires } from '../support/requires.ts';
import { type StandInNomad, startStandInNomad } from '../support/stand-in-nomad.ts';
import { until } from '../support/until.ts';
import { bridgeCases } from './bridge-cases.ts';
import { driverFailure, runJob, shell } from './cases.ts';
import { NETWORK, TUNED } from './network-cases.ts';
import { letAgentWin, startWithoutGates } from './watch-ordering.ts';

/** Sets a parameter that only root's network namespaces have. */
const ODD = {
  ...TUNED,
  name: 'odd',
  plugins: [...TUNED.plugins, { type: 'tuning', sysctl: { 'net.ipv6.route.gc_elasticity': '7' } }],
};

const STAYS = 'echo up; exec sleep 1000';

requires(
  'root',
  'sandbox',
  'podman',
  'cni',
)('group networks', () => {
  let environment: Environment<StandInNomad>;

  beforeAll(async () => {
    environment = await startEnvironment({
      startNomad: (options) =>
        startStandInNomad({ ...options, network: { ...NETWORK, chains: [...NETWORK.chains, ODD] } }),
    });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  const run = (id: string, networkMode: string, more = {}) => {
    const tasks = [shell('t', 'alice', STAYS)];
    return runJob(environment.nomad, { id, meta: { podman_user: 'alice' }, networkMode, tasks, ...more });
  };

  test("CNI CHECK passes once the network is the user's", async () => {
    const allocation = await run('checked', 'bridge');
    await allocation.waitForLog('t', 'up');
    await environment.nomad.check(allocation.id);
  });

  test('a network of mode none is bare', async () => {
    const allocation = await run('none', 'none');
    await allocation.waitForLog('t', 'up');
    await allocation.waitFor('running');
    const { stdout } = await allocation.exec('t', ['ip', 'link']);
    expect(stdout).toMatch(/^1: lo: <LOOPBACK> mtu/);
    expect(stdout).not.toContain('2:');
  });

  test('the network of an allocation whose Podman was pulled down is made anew when its task starts again', async () => {
    const alice = environment.sandbox.user('alice');
    const allocation = await run('restarted', 'bridge', { restartAttempts: 1 });
    await allocation.waitForLog('t', 'up');
    await allocation.waitFor('running');
    const address = await allocation.address();
    await alice.stopService();
    const pause = alice.pausePid();
    if (pause !== undefined) process.kill(pause, 'SIGKILL');
    await until('the pause process is gone', () => alice.pausePid() === undefined);
    await alice.startService();
    for (const pid of processesIn(allocation.netns)) process.kill(pid, 'SIGKILL');
    const stdout = await until('it was started again', async () => {
      const ups = (await allocation.logs('t')).filter((line) => line === 'up');
      if (ups.length < 2) return false;
      return (await allocation.exec('t', ['ip', '-o', '-4', 'address', 'show', 'eth0'])).stdout;
    });
    expect(stdout).toContain(` ${address}/`);
  });

  test('a network that cannot be handed over is refused, and the job author is told why', async () => {
    const allocation = await run('uncarriable', 'cni/odd');
    expect(await driverFailure(allocation, 't')).toMatch(/cannot be migrated to alice: sysctl net.ipv6.route.gc_elas/);
  });

  bridgeCases(() => environment);
});

requires(
  'root',
  'sandbox',
  'podman',
  'cni',
)('group networks without gates (ordering: watch)', () => {
  let environment: Environment<StandInNomad>;

  beforeAll(async () => {
    environment = await startWithoutGates(NETWORK);
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  const job = (id: string) => {
    const tasks = [shell('t', 'alice', STAYS)];
    return { id, meta: { podman_user: 'alice' }, networkMode: 'bridge', tasks };
  };

  test('a network is handed over once Nomad has begun with a task, and is the one that it was', async () => {
    letAgentWin(environment);
    const { nomad, agent } = environment;
    const allocation = await runJob(nomad, job('watched'));
    await allocation.waitFor('running');
    const { stdout } = await allocation.exec('t', ['ip', '-o', '-4', 'address', 'show', 'eth0']);
    expect(stdout).toContain(` ${await allocation.address()}/`);
    const { allocations } = await agent.status();
    expect(allocations).toMatchObject([{ id: allocation.id, netns: 'owned', state: 'ready', late: false }]);
  });

  test('a task that came before its network was handed over says so', async () => {
    const { nomad, agent } = environment;
    await agent.stop();
    const allocation = await runJob(nomad, job('too-early'));
    expect(await driverFailure(allocation, 't')).toMatch(/permission denied|OCI runtime error/);
    await agent.start();
  });
});

function processesIn(netns: string): number[] {
  const pids = execFileSync('ip', ['netns', 'pids', basename(netns)], { encoding: 'utf8' });
  return pids.split('\n').filter(Boolean).map(Number);
}
