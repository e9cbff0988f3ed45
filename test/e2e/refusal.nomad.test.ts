import { afterAll, beforeAll } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { REAL_NOMAD_ADDRESS, type RealNomad, startRealNomad } from '../support/real-nomad.ts';
import { requires } from '../support/requires.ts';
import { nothingLeftCase } from './cases.ts';
import { POLICY, refusalCases } from './refusal-cases.ts';

requires(
  'root',
  'sandbox',
  'podman',
  'nomad',
)('beside a real Nomad, what is refused', () => {
  let environment: Environment<RealNomad>;

  beforeAll(async () => {
    environment = await startEnvironment({
      startNomad: startRealNomad,
      nomadAddress: REAL_NOMAD_ADDRESS,
      config: { policy: POLICY },
    });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  refusalCases(() => environment);
  nothingLeftCase(() => environment);
});
