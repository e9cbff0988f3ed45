import { afterAll, beforeAll } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { requires } from '../support/requires.ts';
import { type StandInNomad, startStandInNomad } from '../support/stand-in-nomad.ts';
import { nothingLeftCase } from './cases.ts';
import { lifecycleCases, POLICY } from './lifecycle-cases.ts';

requires(
  'root',
  'sandbox',
  'podman',
)('with a policy over the life of jobs', () => {
  let environment: Environment<StandInNomad>;

  beforeAll(async () => {
    environment = await startEnvironment({ startNomad: startStandInNomad, config: { policy: POLICY } });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  lifecycleCases(() => environment);
  nothingLeftCase(() => environment);
});
