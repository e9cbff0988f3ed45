import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { registration } from '../support/real-nomad/register-job.ts';
import { REAL_NOMAD_ADDRESS, type RealNomad, startRealNomad } from '../support/real-nomad.ts';
import { requires } from '../support/requires.ts';
import { driverFailure, jobOf, nothingLeftCase, shell } from './cases.ts';
import { lifecycleCases, POLICY } from './lifecycle-cases.ts';

requires(
  'root',
  'sandbox',
  'podman',
  'nomad',
)('beside a real Nomad, with a policy over the life of jobs', () => {
  let environment: Environment<RealNomad>;

  beforeAll(async () => {
    const config = { policy: POLICY };
    environment = await startEnvironment({ startNomad: startRealNomad, nomadAddress: REAL_NOMAD_ADDRESS, config });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  lifecycleCases(() => environment);

  test('a job whose author says that it was made of another one has no rights of that one', async () => {
    const { nomad } = environment;
    const { Job } = registration(jobOf('alice', 'forged', shell('t', 'alice', 'exec sleep 1000')));
    await nomad.api.json('PUT', '/v1/jobs', { Job: { ...Job, ParentID: 'dispatched' } });
    const allocation = await nomad.allocationOf('forged');
    onTestFinished(() => allocation.gc());
    expect(await driverFailure(allocation, 't')).toContain(
      'the policy of this node does not let job forged of namespace default run as alice',
    );
  });

  nothingLeftCase(() => environment);
});
