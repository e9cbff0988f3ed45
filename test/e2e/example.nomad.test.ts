import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import {
  exampleFile,
  exampleNames,
  exampleRegistration,
  recordedExample,
  withoutNulls,
} from '../support/example-job.ts';
import { REAL_NOMAD_ADDRESS, type RealNomad, startRealNomad } from '../support/real-nomad.ts';
import { requires } from '../support/requires.ts';
import { exampleCases } from './example-cases.ts';

const CLIENT = fileURLToPath(new URL('../../examples/nomad.hcl', import.meta.url));
const VOLUME = fileURLToPath(new URL('../../examples/volume.hcl', import.meta.url));

requires(
  'root',
  'sandbox',
  'podman',
  'nomad',
)('the examples beside a real Nomad', () => {
  let environment: Environment<RealNomad>;

  beforeAll(async () => {
    environment = await startEnvironment({ startNomad: startRealNomad, nomadAddress: REAL_NOMAD_ADDRESS });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  const succeed = async (...args: string[]) => {
    const { code, stdout, stderr } = await environment.nomad.command(args);
    if (code !== 0) throw new Error(`nomad ${args.join(' ')}: ${stderr}${stdout}`);
    return stdout;
  };
  const outputOf = (name: string) => succeed('job', 'run', '-output', exampleFile(name));

  test.each(exampleNames())('what is recorded of the example %s is what its file says', async (name) => {
    expect(recordedExample(name)).toEqual(withoutNulls(await outputOf(name)));
  });

  test("the client's configuration is valid", async () => {
    expect(await succeed('config', 'validate', CLIENT)).toContain('Configuration is valid');
  });

  test('the volume can be created', async () => {
    await succeed('volume', 'create', VOLUME);
    const { stdout } = await environment.nomad.command(['volume', 'status', '-type', 'host']);
    expect(stdout).toContain('alice-data');
    const id = /^([0-9a-f]{8}\S*) +alice-data/m.exec(stdout)?.[1] ?? '';
    await succeed('volume', 'delete', '-type', 'host', id);
  });

  exampleCases(
    () => environment,
    async (name, nomad) => {
      await nomad.api.json('PUT', '/v1/jobs', exampleRegistration(await outputOf(name)));
      return nomad.allocationOf(name);
    },
  );
});
