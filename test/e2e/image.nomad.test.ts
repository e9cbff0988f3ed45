import { afterAll, beforeAll } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { REAL_NOMAD_ADDRESS, type RealNomad, startRealNomad } from '../support/real-nomad.ts';
import { requires } from '../support/requires.ts';
import { nothingLeftCase } from './cases.ts';
import { imageCases } from './image-cases.ts';

requires(
  'root',
  'sandbox',
  'podman',
  'nomad',
)('beside a real Nomad, images that are pulled', () => {
  let environment: Environment<RealNomad>;

  beforeAll(async () => {
    environment = await startEnvironment({
      startNomad: startRealNomad,
      nomadAddress: REAL_NOMAD_ADDRESS,
      config: { gate: { timeout: '15s' } },
    });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  imageCases(() => environment);
  nothingLeftCase(() => environment);
});
