import { expect, onTestFinished, test } from 'vitest';
import type { Environment } from '../support/environment.ts';
import { exampleNames } from '../support/example-job.ts';
import type { AllocationUnderTest, NomadUnderTest } from '../support/nomad-under-test.ts';
import { nothingLeftCase } from './cases.ts';
import { page } from './network-cases.ts';

/** What an example is to show once it runs. */
type Shows = (allocation: AllocationUnderTest, environment: Environment<NomadUnderTest>) => Promise<void>;

const serves: Shows = async (allocation) => {
  await allocation.waitForLog('web', 'serving');
  expect(await page(`127.0.0.1:${await allocation.hostPort('http')}`)).toBe('hello');
};

const EXAMPLES: Readonly<Record<string, Shows>> = {
  'host-network': serves,
  bridge: serves,
  'two-users': async (allocation) => {
    await allocation.waitForLog('consumer', 'from alice');
  },
  volume: async (allocation) => {
    await allocation.waitForLog('counter', 'starts: 1');
  },
  'keep-id': async (allocation, { sandbox }) => {
    await allocation.waitForLog('writer', `owner: ${sandbox.user('alice').uid}`);
  },
  batch: async (allocation) => {
    await allocation.waitForLog('sum', 'sum: 5050');
    await allocation.waitFor('complete');
  },
};

/** The jobs of examples/, run one by one. @param run places the job of that name */
export function exampleCases<N extends NomadUnderTest>(
  environment: () => Environment<N>,
  run: (name: string, nomad: N) => AllocationUnderTest | Promise<AllocationUnderTest>,
): void {
  test('each example is run here', () => {
    expect(Object.keys(EXAMPLES).sort()).toEqual(exampleNames().sort());
  });

  test.each(Object.entries(EXAMPLES))('the example %s runs as it says', async (name, shows) => {
    const { nomad, sandbox } = environment();
    if (name === 'volume') {
      const { uid, gid } = sandbox.user('alice');
      await nomad.createHostVolume('alice-data', { uid, gid, mode: '0700' });
    }
    const allocation = await run(name, nomad);
    onTestFinished(() => allocation.gc());
    if (name !== 'batch') await allocation.waitFor('running');
    await shows(allocation, environment());
  });

  nothingLeftCase(environment);
}
