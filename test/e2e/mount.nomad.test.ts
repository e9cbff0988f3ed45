import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { REAL_NOMAD_ADDRESS, type RealNomad, startRealNomad } from '../support/real-nomad.ts';
import { requires } from '../support/requires.ts';
import { basicCases, jobOf, runJob, shell } from './cases.ts';
import { verdictCases } from './verdict-cases.ts';

requires(
  'root',
  'sandbox',
  'podman',
  'nomad',
)('beside a real Nomad', () => {
  let environment: Environment<RealNomad>;

  beforeAll(async () => {
    environment = await startEnvironment({
      startNomad: startRealNomad,
      nomadAddress: REAL_NOMAD_ADDRESS,
    });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  test("Nomad's client killed and started again keeps the task", async () => {
    const { nomad, sandbox } = environment;
    const containers = () => sandbox.user('alice').podman(['ps', '--quiet', '--no-trunc']);
    const script = 'echo up; read line </alloc/data/fifo; echo "$line"; exec sleep 1000';
    const task = shell('t', 'alice', `mkfifo /alloc/data/fifo; ${script}`);
    const allocation = await runJob(nomad, jobOf('alice', 'kept', task));
    await allocation.waitForLog('t', 'up');
    await allocation.waitFor('running');
    const before = await containers();
    await nomad.killClient();
    await nomad.startClient();
    await nomad.waitForDriver();
    const argv = ['/bin/sh', '-c', 'echo on >/alloc/data/fifo; echo done'];
    expect((await allocation.exec('t', argv)).stdout).toContain('done');
    await allocation.waitForLog('t', 'on');
    expect(await containers()).toBe(before);
    const types = (await allocation.events('t')).map(({ Type }) => Type);
    expect(types).toEqual(['Received', 'Task Setup', 'Started']);
  });

  basicCases(() => environment);
  verdictCases(() => environment);
});
