import { readFileSync, writeFileSync } from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import { parse, stringify } from 'yaml';
import type { Environment } from '../support/environment.ts';
import type { AllocationUnderTest, NomadUnderTest } from '../support/nomad-under-test.ts';
import { IMAGE } from '../support/sandbox.ts';
import { until } from '../support/until.ts';
import { driverFailure, jobOf, runJob, shell } from './cases.ts';

const STAYS = 'echo up; exec sleep 1000';
const ALL_WELL = 'All Podman sockets are responding.';
/** Of the restarts below: so many tasks start, while the agent goes and comes so often. */
const STARTING = 20;
const RESTARTS = 10;
/** So many starts at once take a small machine their time. */
const LONG_MS = 120_000;

/** What everybody sees while the agent, or one user, comes and goes. The agent is started as systemd does. */
export function gateLifeCases(environment: () => Environment<NomadUnderTest>): void {
  /** Starts jobs of both users in a burst, none of which is awaited. */
  function startMany(name: string): Promise<AllocationUnderTest>[] {
    const { nomad } = environment();
    return Array.from({ length: STARTING }, async (_, index) => {
      const user = index % 2 === 0 ? 'alice' : 'bob';
      return await nomad.runJob(jobOf(user, `${name}-${index}`, shell('t', user, STAYS)));
    });
  }

  /** Ends and starts the agent again and again, at no particular point of what is starting. */
  async function restartOften(signal: NodeJS.Signals): Promise<void> {
    const { agent } = environment();
    for (let restart = 0; restart < RESTARTS; restart++) {
      await new Promise((resolve) => setTimeout(resolve, 100 + 97 * restart));
      await agent.stop(signal);
      await agent.startUnready();
    }
    await agent.waitUntilReady();
  }

  async function expectWell(): Promise<void> {
    expect((await environment().nomad.driverHealth()).join('; ')).toBe(ALL_WELL);
  }

  test('an agent that is stopped and started again, ten times in the middle of twenty starts, fails none', {
    timeout: 2 * LONG_MS,
  }, async () => {
    const starts = startMany('stopped');
    await restartOften('SIGTERM');
    const said = environment().agent.manager?.said ?? [];
    for (const state of [/^READY=1$/, /^STOPPING=1$/, /^EXTEND_TIMEOUT_USEC=\d{8}$/]) {
      expect(said.filter((one) => state.test(one)).length, `${state}`).toBeGreaterThanOrEqual(RESTARTS);
    }
    const allocations = await Promise.all(starts);
    onTestFinished(async () => void (await Promise.all(allocations.map((allocation) => allocation.gc()))));
    for (const allocation of allocations) {
      await until('it runs', async () => (await allocation.logs('t')).includes('up'), LONG_MS);
      expect((await allocation.events('t')).filter(({ Type }) => Type === 'Driver Failure')).toEqual([]);
    }
  });

  test("one user's Podman that is down leaves the driver healthy, and another user's job runs", {
    timeout: LONG_MS,
  }, async () => {
    const { nomad, sandbox, agent } = environment();
    const alice = sandbox.user('alice');
    await alice.stopService();
    onTestFinished(() => (alice.isServed ? undefined : alice.startService()));
    await expectWell();
    const other = await runJob(nomad, jobOf('bob', 'beside-down', shell('t', 'bob', STAYS)));
    await other.waitForLog('t', 'up');
    await until('her Podman is said to be down', async () => {
      return (await agent.metric('nomad_rootless_user_podman_up{user="alice"}')) === 0;
    });
    expect(await agent.metric('nomad_rootless_user_podman_up{user="bob"}')).toBe(1);
    const { stdout } = await agent.command(['status']);
    expect(stdout).toMatch(/alice .* down .* cannot reach the Podman of user alice/);
  });

  test("a task whose user's Podman comes late waits for it, and runs", async () => {
    const { nomad, sandbox, agent } = environment();
    const alice = sandbox.user('alice');
    await alice.stopService();
    onTestFinished(() => (alice.isServed ? undefined : alice.startService()));
    const late = await runJob(nomad, jobOf('alice', 'late', shell('t', 'alice', STAYS)));
    await until('the driver has come to it', async () => {
      return (await late.events('t')).some(({ Type }) => Type === 'Task Setup');
    });
    await until('her Podman is said to be down', async () => {
      return (await agent.metric('nomad_rootless_user_podman_up{user="alice"}')) === 0;
    });
    expect((await late.events('t')).filter(({ Type }) => Type === 'Driver Failure')).toEqual([]);
    await alice.startService();
    await late.waitForLog('t', 'up');
  });

  test("a task whose user's Podman does not come is told why, and what to do", async () => {
    const { nomad, sandbox } = environment();
    const alice = sandbox.user('alice');
    await alice.stopService();
    onTestFinished(() => (alice.isServed ? undefined : alice.startService()));
    const allocation = await runJob(nomad, jobOf('alice', 'never', shell('t', 'alice', 'true')));
    expect(await driverFailure(allocation, 't')).toMatch(/systemctl --user enable --now podman\.socket/);
  });

  test("one user's Podman that hangs leaves the driver healthy, and another user's job runs", {
    timeout: LONG_MS,
  }, async () => {
    const { nomad, sandbox } = environment();
    const goOn = sandbox.user('alice').hangService();
    onTestFinished(goOn);
    const other = await runJob(nomad, jobOf('bob', 'beside-hanging', shell('t', 'bob', STAYS)));
    await other.waitForLog('t', 'up');
    await expectWell();
  });

  test('a user whom the host does not know leaves the driver healthy, and has a gate once there is an account', {
    timeout: LONG_MS,
  }, async () => {
    const { nomad, sandbox, agent } = environment();
    await expectWell();
    const { stdout } = await agent.command(['status']);
    expect(stdout).toMatch(/dave .* user dave of the configuration is not on this host/);
    const dave = sandbox.addUser('dave');
    await sandbox.buildImage(dave, IMAGE);
    await dave.startService();
    const allocation = await runJob(nomad, jobOf('dave', 'late-account', shell('t', 'dave', STAYS)));
    await allocation.waitForLog('t', 'up');
  });

  test('a configuration that is read again gives a user a gate, and a bad one changes nothing', async () => {
    const { agent } = environment();
    const text = readFileSync(agent.configFile, 'utf8');
    onTestFinished(async () => {
      writeFileSync(agent.configFile, text);
      agent.reload();
      await until('her gate is gone', async () => !(await status()).includes('erin'));
    });
    const status = async () => (await agent.command(['status'])).stdout;
    writeFileSync(agent.configFile, 'users: [alice');
    agent.reload();
    await agent.waitForLog(/reload failed, the previous configuration stays in effect: .*config.yaml:1/);
    const config = parse(text);
    writeFileSync(agent.configFile, stringify({ ...config, users: { ...config.users, erin: {} } }));
    agent.reload();
    await until('she has a gate', async () => (await status()).includes(agent.gateSocket('erin')));
    expect(await status()).toMatch(/bob .* up/);
  });

  // After those that ask how the driver is: of a look that was cut off it says until the next one that a socket is dead.
  test('an agent that is killed and started again, ten times in the middle of twenty starts, fails only what it had in its hands', {
    timeout: 2 * LONG_MS,
  }, async () => {
    const { agent } = environment();
    const starts = startMany('killed');
    await restartOften('SIGKILL');
    const allocations = await Promise.all(starts);
    onTestFinished(async () => void (await Promise.all(allocations.map((allocation) => allocation.gc()))));
    for (const allocation of allocations) {
      const failure = await until(
        'it runs, or has failed',
        async () => {
          // First: of a task that has failed before its start Nomad has no logs to give.
          const failed = (await allocation.events('t')).find(({ Type }) => Type === 'Driver Failure');
          if (failed) return { text: failed.DriverError };
          return (await allocation.logs('t')).includes('up') && { text: '' };
        },
        LONG_MS,
      ).catch(async (cause: unknown) => {
        const events = (await allocation.events('t')).map(({ Type, DisplayMessage }) => `${Type}: ${DisplayMessage}`);
        const { stdout } = await agent.command(['status']);
        throw new Error([...events, stdout, ...agent.log].join('\n'), { cause });
      });
      // Cut in the middle; nobody was ever refused a connection.
      if (failure.text !== '')
        expect(failure.text).toMatch(/EOF|ECONNRESET|socket hang up|connection reset|EPIPE|broken pipe/);
      expect(failure.text).not.toMatch(/refused|no such file|ECONNREFUSED|ENOENT/);
    }
  });
}
