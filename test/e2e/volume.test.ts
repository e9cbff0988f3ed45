import { afterAll, beforeAll } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { requires } from '../support/requires.ts';
import { type StandInNomad, startStandInNomad } from '../support/stand-in-nomad.ts';
import { nothingLeftCase } from './cases.ts';
import { mappedVolumeCases, openedVolumeCases, volumeCases } from './volume-cases.ts';

for (const [volumes, cases] of [
  ['none', volumeCases],
  ['acl', openedVolumeCases],
  ['idmap', mappedVolumeCases],
] as const) {
  requires(
    'root',
    'sandbox',
    'podman',
  )(`with volumes: ${volumes}`, () => {
    let environment: Environment<StandInNomad>;

    beforeAll(async () => {
      environment = await startEnvironment({ startNomad: startStandInNomad, config: { volumes } });
    });
    afterAll(() => environment?.[Symbol.asyncDispose]());

    cases(() => environment);
    nothingLeftCase(() => environment);
  });
}
