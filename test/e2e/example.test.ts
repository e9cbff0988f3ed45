import { afterAll, beforeAll } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { exampleJob } from '../support/example-job.ts';
import { requires } from '../support/requires.ts';
import { type StandInNomad, startStandInNomad } from '../support/stand-in-nomad.ts';
import { exampleCases } from './example-cases.ts';

requires(
  'root',
  'sandbox',
  'podman',
  'cni',
)('the examples', () => {
  let environment: Environment<StandInNomad>;

  beforeAll(async () => {
    environment = await startEnvironment({ startNomad: startStandInNomad });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  exampleCases(
    () => environment,
    (name, nomad) => nomad.runJob(exampleJob(name)),
  );
});
