import { afterAll, beforeAll } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { requires } from '../support/requires.ts';
import { type StandInNomad, startStandInNomad } from '../support/stand-in-nomad.ts';
import { nothingLeftCase } from './cases.ts';
import { imageCases } from './image-cases.ts';

requires(
  'root',
  'sandbox',
  'podman',
)('images that are pulled', () => {
  let environment: Environment<StandInNomad>;

  beforeAll(async () => {
    environment = await startEnvironment({ startNomad: startStandInNomad, config: { gate: { timeout: '15s' } } });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  imageCases(() => environment);
  nothingLeftCase(() => environment);
});
