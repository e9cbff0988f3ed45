import { afterAll, beforeAll } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { REAL_NOMAD_ADDRESS, type RealNomad, startRealNomad } from '../support/real-nomad.ts';
import { requires } from '../support/requires.ts';
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
    'nomad',
  )(`beside a real Nomad, with volumes: ${volumes}`, () => {
    let environment: Environment<RealNomad>;

    beforeAll(async () => {
      const startNomad = startRealNomad;
      environment = await startEnvironment({ startNomad, nomadAddress: REAL_NOMAD_ADDRESS, config: { volumes } });
    });
    afterAll(() => environment?.[Symbol.asyncDispose]());

    cases(() => environment);
    nothingLeftCase(() => environment);
  });
}
