import { afterAll, beforeAll } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { requires } from '../support/requires.ts';
import { type StandInNomad, startStandInNomad } from '../support/stand-in-nomad.ts';
import { explainCases, POLICY } from './explain-cases.ts';

requires(
  'root',
  'sandbox',
  'podman',
)('with a policy', () => {
  let environment: Environment<StandInNomad>;

  beforeAll(async () => {
    environment = await startEnvironment({ startNomad: startStandInNomad, config: { policy: POLICY } });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  explainCases(() => environment);
});
