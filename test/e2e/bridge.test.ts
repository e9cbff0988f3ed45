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
    environment = await startEnvironment({
      startNomad: ({ sandbox, ...options }) => {
        const sockets = Object.fromEntries(sandbox.users.map((user) => [user.name, user.socket]));
        return startStandInNomad({ ...options, sockets, network: NETWORK });
      },
      config: { ordering: 'watch' },
    });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  test('a network is handed over once Nomad has begun with a task, and a task that came too early says so', async () => {
    const { nomad, agent } = environment;
    for (let round = 0; round < 5; round++) {
      const tasks = [shell('t', 'alice', STAYS)];
      const job = { id: `watched-${round}`, meta: { podman_user: 'alice' }, networkMode: 'bridge', tasks };
      const allocation = await runJob(nomad, job);
      const won = await allocation.waitFor('running').then(
        () => true,
        () => false,
      );
      if (won) {
        const { stdout } = await allocation.exec('t', ['ip', '-o', '-4', 'address', 'show', 'eth0']);
        expect(stdout).toContain(` ${await allocation.address()}/`);
        const status = JSON.parse((await agent.command(['status', '--json', allocation.id])).stdout);
        expect(status.allocations).toMatchObject([{ netns: 'owned' }]);
      } else {
        expect(await driverFailure(allocation, 't')).toMatch(
          /permission denied|OCI permission denied|OCI runtime error/,
        );
      }
    }
  });
});

function processesIn(netns: string): number[] {
  const pids = execFileSync('ip', ['netns', 'pids', basename(netns)], { encoding: 'utf8' });
  return pids.split('\n').filter(Boolean).map(Number);
}
