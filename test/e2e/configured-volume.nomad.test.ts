import { afterAll, beforeAll } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { REAL_NOMAD_ADDRESS, type RealNomad, startRealNomad } from '../support/real-nomad.ts';
import { requires } from '../support/requires.ts';
import { nothingLeftCase } from './cases.ts';
import { CONFIG, configuredVolumeCases, configuredVolumes } from './configured-volume-cases.ts';

requires(
  'root',
  'sandbox',
  'podman',
  'nomad',
)("beside a real Nomad, host volumes of its client's configuration", () => {
  let environment: Environment<RealNomad>;

  beforeAll(async () => {
    environment = await startEnvironment({
      startNomad: (options) =>
        startRealNomad({ ...options, hostVolumes: configuredVolumes(options.sandbox, options.dataDir) }),
      nomadAddress: REAL_NOMAD_ADDRESS,
      config: CONFIG,
    });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  configuredVolumeCases(() => environment);
  nothingLeftCase(() => environment);
});
