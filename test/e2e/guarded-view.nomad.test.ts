import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { REAL_NOMAD_ADDRESS, type RealNomad, startRealNomad } from '../support/real-nomad.ts';
import { requires } from '../support/requires.ts';
import { driverFailure, jobOf, nothingLeftCase, runJob, shell } from './cases.ts';
import { rootByNameCases } from './guarded-view-cases.ts';
import { everyHandleCases } from './guarded-view-handle-cases.ts';
import { idmapCases } from './guarded-view-idmap-cases.ts';
import { lifeCases } from './guarded-view-life-cases.ts';
import { narrowCases } from './guarded-view-narrow-cases.ts';
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
  requires('mapped-tmpfs')('with mapped ids', () => {
    narrowCases(() => environment);
    idmapCases(() => environment);
  });
  everyHandleCases(() => environment);
  rootByNameCases(() => environment, { identityTtlMs: 20_000 });
  test('an image archive, which the driver reads as root wherever it lies, is refused, and the job author is told what to do', async () => {
    const { nomad, sandbox } = environment;
    const archive = join(sandbox.directory, 'roots.tar');
    writeFileSync(archive, Buffer.alloc(4 * 1024 * 1024, 'x'), { mode: 0o600 });
    const task = shell('t', 'alice', 'true', { image: `docker-archive:${archive}` });
    const allocation = await runJob(nomad, jobOf('alice', 'archive', task));
    expect(await driverFailure(allocation, 't')).toMatch(/image archives .* do not go through the gate.*podman load/);
  });

  nothingLeftCase(() => environment);
});
