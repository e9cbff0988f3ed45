import { afterAll, beforeAll } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { requires } from '../support/requires.ts';
import { type StandInNomad, startStandInNomad } from '../support/stand-in-nomad.ts';
import { nothingLeftCase } from './cases.ts';
import { CONFIG, configuredVolumeCases, configuredVolumes } from './configured-volume-cases.ts';

requires(
  'root',
  'sandbox',
  'podman',
)("host volumes of the client's configuration", () => {
  let environment: Environment<StandInNomad>;

  beforeAll(async () => {
    environment = await startEnvironment({
      startNomad: (options) =>
        startStandInNomad({ ...options, hostVolumes: configuredVolumes(options.sandbox, options.dataDir) }),
      config: CONFIG,
    });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  configuredVolumeCases(() => environment);
  nothingLeftCase(() => environment);
});
