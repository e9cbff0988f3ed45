import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { REAL_NOMAD_ADDRESS, type RealNomad, startRealNomad } from '../support/real-nomad.ts';
import { requires } from '../support/requires.ts';
import { until } from '../support/until.ts';
import { jobOf, nothingLeftCase, runJob, shell } from './cases.ts';

const HELD = 'nomad_rootless_gate_hold_duration_seconds_count{user="alice"}';
const SCRIPT = 'echo up >>/alloc/data/x && cat /alloc/data/x; exec sleep 1000';

requires(
  'root',
  'sandbox',
  'podman',
  'nomad',
)('beside a real Nomad whose podman driver has recover_stopped', () => {
  let environment: Environment<RealNomad>;

  beforeAll(async () => {
    environment = await startEnvironment({
      startNomad: (options) => startRealNomad({ ...options, recoverStopped: true }),
      nomadAddress: REAL_NOMAD_ADDRESS,
      isManaged: true,
      config: { gate: { timeout: '5s' } },
    });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  /** Runs a job whose container ends while Nomad's client and driver are away, and her Podman has lost all mounts. */
  async function runAndEnd(id: string) {
    const { nomad, sandbox } = environment;
    const alice = sandbox.user('alice');
    const job = jobOf('alice', id, shell('t', 'alice', SCRIPT));
    const allocation = await runJob(nomad, { ...job, restartAttempts: 1 });
    await allocation.waitForLog('t', 'up');
    await allocation.waitFor('running');
    const look = async (format: string) =>
      (await alice.podman(['inspect', '--format', format, `t-${allocation.id}`])).trim();
    const container = await look('{{.Id}}');
    await nomad.killClientAndDriver();
    await alice.podman(['kill', `t-${allocation.id}`]);
    await until('the container has ended', async () => (await look('{{.State.Status}}')) === 'exited');
    const pause = alice.pausePid();
    await alice.stopService();
    if (pause !== undefined) process.kill(pause, 'SIGKILL');
    await until('the pause process is gone', () => alice.pausePid() === undefined);
    await alice.startService();
    return { allocation, container, look };
  }

  test('a container that has ended meanwhile is started again, once its allocation is ready for it', async () => {
    const { nomad, agent } = environment;
    const { allocation, container, look } = await runAndEnd('stopped');
    const held = (await agent.metric(HELD)) ?? 0;
    await nomad.startClient();
    await until('it runs again', async () => (await look('{{.State.Status}}')) === 'running', 60_000);
    expect(await look('{{.Id}}')).toBe(container);
    expect(await agent.metric(HELD)).toBe(held + 1);
    expect((await allocation.exec('t', ['cat', '/alloc/data/x'])).stdout).toBe('up\nup\n');
  }, 180_000);

  // Nomad's client takes up its tasks before it serves its API: an agent that knows nothing yet has nobody to ask.
  test('an agent that has been away, too, keeps Nomad for no longer than its gates wait, and the task starts anew', async () => {
    const { nomad, agent } = environment;
    const { allocation } = await runAndEnd('both-away');
    await agent.stop('SIGKILL');
    await Promise.all([nomad.startClient(), agent.startUnready()]);
    await agent.waitUntilReady();
    const lines = async () => (await allocation.exec('t', ['cat', '/alloc/data/x'])).stdout;
    expect(await until('it runs again', async () => (await lines()) === 'up\nup\n', 60_000)).toBe(true);
  }, 180_000);

  nothingLeftCase(() => environment);
});
