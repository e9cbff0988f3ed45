import { afterAll, beforeAll } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { REAL_NOMAD_ADDRESS, type RealNomad, startRealNomad } from '../support/real-nomad.ts';
import { requires } from '../support/requires.ts';
import { nothingLeftCase } from './cases.ts';
import { openDataDir, otherDriverCases } from './other-driver-cases.ts';

requires(
  'root',
  'sandbox',
  'podman',
  'nomad',
)('beside a real Nomad, in a data dir that users may pass', () => {
  let environment: Environment<RealNomad>;

  beforeAll(async () => {
    environment = await startEnvironment({
      startNomad: async (options) => openDataDir(await startRealNomad(options)),
      nomadAddress: REAL_NOMAD_ADDRESS,
    });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  otherDriverCases(() => environment);
  nothingLeftCase(() => environment);
});
