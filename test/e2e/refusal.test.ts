import { afterAll, beforeAll } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { requires } from '../support/requires.ts';
import { type StandInNomad, startStandInNomad } from '../support/stand-in-nomad.ts';
import { nothingLeftCase } from './cases.ts';
import { POLICY, refusalCases } from './refusal-cases.ts';

requires(
  'root',
  'sandbox',
  'podman',
)('what is refused', () => {
  let environment: Environment<StandInNomad>;

  beforeAll(async () => {
    environment = await startEnvironment({ startNomad: startStandInNomad, config: { policy: POLICY } });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  refusalCases(() => environment);
  nothingLeftCase(() => environment);
});
