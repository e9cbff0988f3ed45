import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { requires } from '../support/requires.ts';
import { type StandInNomad, startStandInNomad } from '../support/stand-in-nomad.ts';
import { nothingLeftCase } from './cases.ts';
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
)('the guarded view', () => {
  let environment: Environment<StandInNomad>;

  beforeAll(async () => {
    environment = await startEnvironment({ startNomad: startStandInNomad });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  workCases(() => environment);
  lifeCases(() => environment);
  requires('mapped-tmpfs')('with mapped ids', () => {
    narrowCases(() => environment);
    idmapCases(() => environment);
  });
  everyHandleCases(() => environment);
  rootByNameCases(() => environment, { identityTtlMs: 1000 });

  test('the key of the former way to open allocations is refused, and what to do instead is said', async () => {
    const { agent } = environment;
    agent.configure({ nomad: { address: environment.nomad.address }, users: { alice: {}, bob: {} }, access: 'acl' });
    const { code, stdout, stderr } = await agent.command(['check-config']);
    agent.configure({ nomad: { address: environment.nomad.address }, users: { alice: {}, bob: {} } });
    expect(code).not.toBe(0);
    expect(`${stdout}${stderr}`).toMatch(/access/);
  });

  nothingLeftCase(() => environment);
});
