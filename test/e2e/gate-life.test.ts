import { afterAll, beforeAll } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { requires } from '../support/requires.ts';
import { type StandInNomad, startStandInNomad } from '../support/stand-in-nomad.ts';
import { nothingLeftCase } from './cases.ts';
import { gateLifeCases } from './gate-life-cases.ts';

requires(
  'root',
  'sandbox',
  'podman',
)('while the agent or a user comes and goes', () => {
  let environment: Environment<StandInNomad>;

  beforeAll(async () => {
    environment = await startEnvironment({
      startNomad: startStandInNomad,
      expected: ['dave'],
      isManaged: true,
      config: { gate: { timeout: '15s' } },
    });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  gateLifeCases(() => environment);
  nothingLeftCase(() => environment);
});
