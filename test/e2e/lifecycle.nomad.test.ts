import { afterAll, beforeAll } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { REAL_NOMAD_ADDRESS, type RealNomad, startRealNomad } from '../support/real-nomad.ts';
import { requires } from '../support/requires.ts';
import { nothingLeftCase } from './cases.ts';
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
  nothingLeftCase(() => environment);
});
