import { afterAll, beforeAll } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { requires } from '../support/requires.ts';
import { type StandInNomad, startStandInNomad } from '../support/stand-in-nomad.ts';
import { basicCases } from './cases.ts';
import { verdictCases } from './verdict-cases.ts';

requires(
  'root',
  'sandbox',
  'podman',
)('with the stand-in', () => {
  let environment: Environment<StandInNomad>;

  beforeAll(async () => {
    environment = await startEnvironment({ startNomad: startStandInNomad });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  basicCases(() => environment);
  verdictCases(() => environment);
});
