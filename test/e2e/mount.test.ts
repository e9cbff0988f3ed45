import { afterAll, beforeAll } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { requires } from '../support/requires.ts';
import { type StandInNomad, startStandInNomad } from '../support/stand-in-nomad.ts';
import { basicCases } from './cases.ts';

for (const access of ['mount', 'acl']) {
  requires(
    'root',
    'sandbox',
    'podman',
  )(`with access: ${access}`, () => {
    let environment: Environment<StandInNomad>;

    beforeAll(async () => {
      environment = await startEnvironment({ startNomad: startStandInNomad, config: { access } });
    });
    afterAll(() => environment?.[Symbol.asyncDispose]());

    basicCases(() => environment);
  });
}
