import { afterAll, beforeAll } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { REAL_NOMAD_ADDRESS, type RealNomad, startRealNomad } from '../support/real-nomad.ts';
import { requires } from '../support/requires.ts';
import { nothingLeftCase } from './cases.ts';
import { rootByNameCases } from './guarded-view-cases.ts';
import { everyHandleCases } from './guarded-view-handle-cases.ts';
import { idmapCases } from './guarded-view-idmap-cases.ts';
import { lifeCases } from './guarded-view-life-cases.ts';
import { workCases } from './guarded-view-work-cases.ts';

requires(
  'root',
  'sandbox',
  'podman',
  'nomad',
)('the guarded view beside a real Nomad', () => {
  let environment: Environment<RealNomad>;

  beforeAll(async () => {
    environment = await startEnvironment({ startNomad: startRealNomad, nomadAddress: REAL_NOMAD_ADDRESS });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  workCases(() => environment);
  lifeCases(() => environment);
  idmapCases(() => environment);
  everyHandleCases(() => environment);
  rootByNameCases(() => environment, { identityTtlMs: 20_000 });
  nothingLeftCase(() => environment);
});
