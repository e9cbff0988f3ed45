import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const SRC = fileURLToPath(new URL('../../src', import.meta.url));

/** What each folder of src/ may import besides itself. Files right in src/ other than main.ts stand below all folders. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  'main.ts': ['cli', 'version.ts'],
  cli: ['agent', 'doctor', 'debug', 'setup', 'config', 'reconcile', 'nomad', 'linux', 'model', 'base'],
  agent: ['watch', 'reconcile', 'gate', 'ghosts', 'podman', 'config', 'resources', 'nomad', 'linux', 'model', 'base'],
  doctor: ['reconcile', 'gate', 'podman', 'config', 'resources', 'nomad', 'linux', 'model', 'base'],
  debug: ['podman', 'config', 'resources', 'linux', 'model', 'base'],
  setup: ['config', 'linux', 'model', 'base'],
  watch: ['nomad', 'linux', 'model', 'base'],
  reconcile: ['resources', 'linux', 'model', 'base'],
  gate: ['podman', 'linux', 'model', 'base'],
  ghosts: ['podman', 'resources', 'linux', 'model', 'base'],
  podman: ['linux', 'model', 'base'],
  config: ['linux', 'model', 'base'],
  resources: ['linux', 'model', 'base'],
  nomad: ['model', 'base'],
  linux: ['base'],
  model: [],
  base: ['base'],
};

/** Modules that only one folder may use: the one door to the kernel, to Nomad, to processes. */
const DOORS: Record<string, readonly string[]> = {
  koffi: ['linux'],
  'node:fs': ['linux'],
  'node:fs/promises': ['linux'],
  'node:child_process': ['linux'],
  '@hashicorp/nomad-client-ts': ['nomad', 'agent'],
};

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));

function folderOf(file: string): string {
  const [first = '', ...rest] = file.split('/');
  if (rest.length > 0) return first;
  return first === 'main.ts' ? first : 'base';
}

function importsOf(file: string): { specifier: string; typeOnly: boolean }[] {
  const text = readFileSync(join(SRC, file), 'utf8');
  const statements = [...text.matchAll(/^(?:import|export)\s+(type\s)?[^'"]*?from\s+'([^']+)'/gms)].map(
    ([, type, specifier = '']) => ({ specifier, typeOnly: type !== undefined }),
  );
  const calls = [...text.matchAll(/\bimport\('([^']+)'\)/g)].map(([, specifier = '']) => ({
    specifier,
    typeOnly: false,
  }));
  return [...statements, ...calls];
}

describe('imports', () => {
  test('are found in most files, so that what follows looks at something', () => {
    expect(files.filter((file) => importsOf(file).length > 0).length).toBeGreaterThan(files.length / 2);
  });

  test.each(files)('of src/%s point one way', (file) => {
    const from = folderOf(file);
    for (const { specifier } of importsOf(file).filter((one) => /^\..*\.ts$/.test(one.specifier))) {
      const target = relative(SRC, resolve(join(SRC, dirname(file)), specifier));
      const to = folderOf(target);
      const allowed = to === from || MAY_IMPORT[from]?.includes(to) || MAY_IMPORT[from]?.includes(target);
      expect(allowed || target === 'version.ts', `src/${file} imports src/${target}`).toBe(true);
    }
  });

  test.each(files)("of src/%s use no door that is another folder's", (file) => {
    for (const { specifier, typeOnly } of importsOf(file)) {
      const owners = DOORS[specifier];
      if (owners && !typeOnly) expect(owners, `src/${file} imports ${specifier}`).toContain(folderOf(file));
    }
  });

  test.each(files.filter((file) => file !== 'clock.ts'))('of src/%s: the clock is the only door to time', (file) => {
    const text = readFileSync(join(SRC, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
    expect(text).not.toMatch(
      /\bDate\.now\(|\bsetTimeout\(|\bsetInterval\(|\bperformance\.now\(|\bAbortSignal\.timeout\(/,
    );
  });

  test.each(files.filter((file) => !['cli', 'clock.ts'].includes(file.split('/')[0] ?? '')))(
    'of src/%s: which clock it is, the commands say',
    (file) => {
      expect(readFileSync(join(SRC, file), 'utf8')).not.toMatch(/\bsystemClock\b/);
    },
  );

  test.each(files)('of src/%s: schemas of the admin API are loaded only by who asks over it', (file) => {
    const loaded = importsOf(file).filter(({ typeOnly, specifier }) => {
      const target = relative(SRC, resolve(join(SRC, dirname(file)), specifier));
      return !typeOnly && ['model/status.ts', 'model/explanation.ts'].includes(target);
    });
    if (!['cli/admin-client.ts', 'model/explanation.ts'].includes(file)) expect(loaded).toEqual([]);
  });
});
