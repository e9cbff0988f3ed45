import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { GhostStatus } from '../../src/model/status.ts';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { networkLeftovers, removeRules } from '../support/network-leftovers.ts';
import { coverCniCache } from '../support/real-nomad/cni-cache.ts';
import { requires } from '../support/requires.ts';
import { IMAGE } from '../support/sandbox.ts';
import { type AllocationHandle, type StandInNomad, startStandInNomad } from '../support/stand-in-nomad.ts';
import { until } from '../support/until.ts';
import { expectNothingLeft, jobOf, shell } from './cases.ts';

const STAYS = 'echo up; exec sleep 1000';
const GRACE_MS = 3000;
const CONFIG = { resync_interval: '1s', remove_ghosts_after: `${GRACE_MS}ms` };

async function ghosts({ agent }: Environment): Promise<GhostStatus[]> {
  return JSON.parse((await agent.command(['status', '--json'])).stdout).ghosts;
}

async function namesOf({ sandbox }: Environment, user: string): Promise<string> {
  return await sandbox.user(user).podman(['ps', '--all', '--format', '{{.Names}} {{.Status}}']);
}

requires(
  'root',
  'sandbox',
  'podman',
)('a container that was left behind', () => {
  let environment: Environment<StandInNomad>;

  beforeAll(async () => {
    environment = await startEnvironment({ startNomad: startStandInNomad, config: CONFIG });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  /** What becomes of an allocation that fails while no gate is there: the driver cannot remove its container. */
  async function leaveBehind(user: string): Promise<AllocationHandle> {
    const { nomad, agent } = environment;
    const allocation = nomad.runJob(jobOf(user, `left-by-${user}`, shell('t', user, STAYS)));
    await allocation.waitForLog('t', 'up');
    await allocation.waitFor('running');
    await until('Nomad knows', () => nomad.allocation(allocation.id)?.ClientStatus === 'running');
    await agent.stop('SIGKILL');
    const known = nomad.allocation(allocation.id);
    const [state] = Object.values(known?.TaskStates ?? {});
    if (!known || !state) throw new Error(`Nomad knows nothing of ${allocation.id}`);
    const TaskStates = { t: { ...state, State: 'dead' as const, Failed: true } };
    nomad.announce({ ...known, ClientStatus: 'failed', TaskStates }, 'AllocationUpdated');
    return allocation;
  }

  test('is told of, counted, and removed; what the user started by hand under such a name stays', async () => {
    const { sandbox, agent } = environment;
    const byHand = `t-${randomUUID()}`;
    await sandbox.user('alice').podman(['run', '--detach', '--name', byHand, IMAGE, 'sleep', '1000']);
    const allocation = await leaveBehind('alice');
    await agent.start();
    const name = `t-${allocation.id}`;
    const [ghost] = await until('it is told of', async () => {
      const found = await ghosts(environment);
      return found.length > 0 && found;
    });
    expect(ghost).toMatchObject({
      kind: 'container',
      user: 'alice',
      name,
      allocationId: allocation.id,
      state: 'running',
    });
    expect(await agent.metric('nomad_rootless_ghosts{kind="container"}')).toBe(1);
    expect(JSON.parse((await agent.command(['explain', '--json', allocation.id])).stdout).parts).toContainEqual(
      expect.objectContaining({ kind: 'ghost', state: 'left', what: [expect.stringContaining(name)] }),
    );
    await until('it is removed', async () => !(await namesOf(environment, 'alice')).includes(name));
    await until('that is counted', async () => (await ghosts(environment)).length === 0);
    expect(await agent.metric('nomad_rootless_ghosts_removed_total{kind="container"}')).toBe(1);
    expect(await namesOf(environment, 'alice')).toContain(`${byHand} Up`);
    await sandbox.user('alice').podman(['rm', '--force', '--time', '0', byHand]);
    await allocation.gc();
  });

  test('stays while Nomad cannot be asked, and the time begins anew when it can', async () => {
    const { nomad, agent } = environment;
    const allocation = await leaveBehind('bob');
    nomad.api.setFault('allocation', { status: 500, text: 'No cluster leader' });
    await agent.start();
    const name = `t-${allocation.id}`;
    const asked = () => nomad.api.requests.filter(({ path }) => path.includes(allocation.id)).map(({ at }) => at);
    const from = performance.now();
    await until('it was asked for throughout the time', () => asked().some((at) => at > from + 2 * GRACE_MS));
    expect(await ghosts(environment)).toEqual([]);
    expect(await namesOf(environment, 'bob')).toContain(`${name} Up`);
    nomad.api.setFault('allocation');
    await until('it is removed', async () => !(await namesOf(environment, 'bob')).includes(name));
    await allocation.gc();
    await expectNothingLeft(environment);
  });

  test('is taken away at once by cleanup, which says so beforehand', async () => {
    const { agent } = environment;
    const allocation = await leaveBehind('alice');
    const name = `t-${allocation.id}`;
    const dry = JSON.parse((await agent.command(['cleanup', '--dry-run', '--json'])).stdout);
    const what = `container ${name} of alice: the allocation is failed`;
    expect(dry.leftovers).toContainEqual({ kind: 'ghost', what });
    expect(await namesOf(environment, 'alice')).toContain(name);
    expect((await agent.command(['cleanup'])).stdout).toContain(`removes ghost: ${what}\n`);
    expect(await namesOf(environment, 'alice')).not.toContain(name);
    await agent.start();
    await allocation.gc();
    await expectNothingLeft(environment);
  });
});

requires(
  'root',
  'sandbox',
  'podman',
  'cni',
)('a network that was left behind', () => {
  let environment: Environment<StandInNomad>;
  let uncover: (() => Promise<void>) | undefined;

  beforeAll(async () => {
    environment = await startEnvironment({
      startNomad: async (options) => {
        uncover = await coverCniCache(options.sandbox);
        return startStandInNomad({ ...options, network: { subnetIpv6: 'fd00:6e72::/64', cacheDir: '/var/lib/cni' } });
      },
      config: CONFIG,
    });
  });
  afterAll(async () => {
    await environment?.[Symbol.asyncDispose]();
    await uncover?.();
  });

  async function run(id: string): Promise<AllocationHandle> {
    const job = {
      ...jobOf('alice', id, shell('t', 'alice', STAYS)),
      networkMode: 'bridge',
      ports: [{ label: 'http', to: 80 }],
    };
    const allocation = environment.nomad.runJob(job);
    await allocation.waitForLog('t', 'up');
    await allocation.waitFor('running');
    return allocation;
  }

  test('goes as Nomad would have had it go, with its lease and its packet filters; one that is in use stays', async () => {
    const { nomad, agent } = environment;
    const kept = await run('kept');
    const allocation = await run('left');
    nomad.forgetNetwork(allocation.id);
    await allocation.gc();
    expect(existsSync(allocation.netns)).toBe(true);
    await until('it is told of', async () =>
      (await ghosts(environment)).some(
        ({ kind, allocationId }) => kind === 'network' && allocationId === allocation.id,
      ),
    );
    await until('it is removed', () => !existsSync(allocation.netns));
    expect(await agent.metric('nomad_rootless_ghosts_removed_total{kind="network"}')).toBe(1);
    const { stdout } = await kept.exec('t', ['ip', '-o', '-4', 'address', 'show', 'eth0']);
    expect(stdout).toContain(` ${await kept.address()}/`);
    expect(readdirSync('/var/lib/cni/results')).toEqual([expect.stringContaining(kept.id)]);
    await kept.gc();
    await until('nothing is left', async () => (await networkLeftovers(nomad)).length === 0).catch(() => undefined);
    expect(await networkLeftovers(nomad)).toEqual([]);
  });

  test('of which libcni has kept nothing goes, and the log says what stays', async () => {
    const { nomad, agent } = environment;
    const allocation = await run('forgotten');
    const address = await allocation.address();
    execFileSync('rm', ['-r', '/var/lib/cni/results']);
    nomad.forgetNetwork(allocation.id);
    await allocation.gc();
    await until('it is removed', () => !existsSync(allocation.netns));
    await agent.waitForLog(new RegExp(`cni_lease_left.*${allocation.id}`));
    expect(await networkLeftovers(nomad)).toContain(`lease ${address}`);
    // The other tests find a host without any.
    await removeRules();
    expect((await networkLeftovers(nomad)).filter((left) => !left.startsWith('lease '))).toEqual([]);
  });
});
