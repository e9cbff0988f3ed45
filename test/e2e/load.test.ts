import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { holdCreates } from '../bench/held-creates.ts';
import { METRICS_ADDRESS } from '../support/agent.ts';
import { mainThreadSecondsOf } from '../support/cpu-seconds.ts';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { startMetricsFlood } from '../support/metrics-flood.ts';
import { requires } from '../support/requires.ts';
import { type StandInNomad, startStandInNomad } from '../support/stand-in-nomad.ts';
import { jobOf, runJob, shell } from './cases.ts';

const STAYS = 'echo up; exec sleep 1000';

/** Each of these passes where what one user, or anybody, asks of the agent costs another user nothing. */
/** What of alice's is held at the end is given up at her gate's time-out. */
const LONG_MS = 180_000;

requires(
  'root',
  'sandbox',
  'podman',
)('an agent that is asked much', () => {
  let environment: Environment<StandInNomad>;

  beforeAll(async () => {
    environment = await startEnvironment({ startNomad: startStandInNomad, config: { gate: { timeout: '10s' } } });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  test('starts a job while anybody floods its metrics port, which costs it little time and memory', async () => {
    const { nomad, agent } = environment;
    const started = { at: performance.now(), ran: mainThreadSecondsOf(agent.pid) };
    using _flood = startMetricsFlood(METRICS_ADDRESS);
    await new Promise((resolve) => setTimeout(resolve, 5000));
    const allocation = await runJob(nomad, jobOf('bob', 'beside-a-flood', shell('t', 'bob', STAYS)));
    await allocation.waitForLog('t', 'up');
    const share = (mainThreadSecondsOf(agent.pid) - started.ran) / ((performance.now() - started.at) / 1000);
    // All that the machine gave it was taken by the flood before, and more than a GiB in a minute.
    expect(share).toBeLessThan(0.4);
    expect(residentMiB(agent.pid)).toBeLessThan(350);
  });

  test("starts bob's jobs while alice has eighty allocations whose looks come to no end", {
    timeout: LONG_MS,
  }, async () => {
    const { nomad, agent, sandbox } = environment;
    const alice = sandbox.user('alice');
    await using _held = await holdCreates({ nomad, user: alice, gate: agent.gateSocket('alice') });
    await agent.waitForLog(/user_files_unreadable/);
    for (const round of [1, 2, 3]) {
      const allocation = await runJob(nomad, jobOf('bob', `beside-slow-looks-${round}`, shell('t', 'bob', STAYS)));
      await allocation.waitForLog('t', 'up');
    }
    // What she stops is not left there: the last one may have been begun just now.
    expect((await alice.run(['pgrep', '--count', '--exact', 'find', '-u', String(alice.uid)])).stdout.trim()).toMatch(
      /^[01]$/,
    );
  });
});

function residentMiB(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}
