import { afterAll, beforeAll } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { requires } from '../support/requires.ts';
import { type StandInNomad, startStandInNomad } from '../support/stand-in-nomad.ts';
import { nothingLeftCase } from './cases.ts';
import { openDataDir, otherDriverCases } from './other-driver-cases.ts';

requires(
  'root',
  'sandbox',
  'podman',
)('in a data dir that users may pass', () => {
  let environment: Environment<StandInNomad>;

  beforeAll(async () => {
    environment = await startEnvironment({
      startNomad: async (options) => openDataDir(await startStandInNomad(options)),
    });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  otherDriverCases(() => environment);
  nothingLeftCase(() => environment);
});
