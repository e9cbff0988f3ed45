import { execFileSync, spawnSync } from 'node:child_process';
import { hash } from 'node:crypto';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compileBundle } from '../../../scripts/bundle/script.ts';
import { VERSION } from '../../../src/version.ts';
import { requires } from '../../support/requires.ts';

const ROOT = join(import.meta.dirname, '../../..');
const NOBODY = 65534;

/** Every file below a directory, and its digest. */
function contentsOf(directory: string): Record<string, string> {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = entries.map(({ parentPath, name }) => join(parentPath, name)).sort();
  const digest = (path: string) => hash('sha256', readFileSync(path));
  return Object.fromEntries(paths.map((path) => [relative(directory, path), digest(path)]));
}

describe('what is built', () => {
  let directory: string;

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'nomad-rootless-build-'));
    execFileSync(process.execPath, [join(ROOT, 'scripts/build.ts'), directory]);
  }, 60_000);

  afterAll(() => rmSync(directory, { recursive: true }));

  const run = (...args: string[]) =>
    execFileSync(process.execPath, [join(directory, 'nomad-rootless.mjs'), ...args], { cwd: '/', encoding: 'utf8' });
  const bundle = () => join(directory, readdirSync(directory).find((name) => name.endsWith('.cjs')) ?? 'no bundle');

  test('runs from another directory, with nothing but what is beside it', () => {
    expect(run('--version')).toBe(`${VERSION}\n`);
    expect(run('check-config', '--config', join(ROOT, 'deploy/config.example.yaml'))).toContain('podman_user');
  });

  test('has a code cache that its V8 takes', () => {
    expect(compileBundle(bundle(), readFileSync(`${bundle()}.cache`)).cachedDataRejected).toBe(false);
  });

  test('is the same, byte for byte, built in another directory and with a compile cache', () => {
    const other = mkdtempSync(join(tmpdir(), 'nomad-rootless-build-again-'));
    const cache = mkdtempSync(join(tmpdir(), 'nomad-rootless-compile-cache-'));
    try {
      for (const _ of ['with an empty compile cache', 'with one of the build before']) {
        const env = { ...process.env, NODE_COMPILE_CACHE: cache };
        execFileSync(process.execPath, [join(ROOT, 'scripts/build.ts'), other], { env });
        expect(contentsOf(other)).toEqual(contentsOf(directory));
      }
    } finally {
      for (const made of [other, cache]) rmSync(made, { recursive: true });
    }
  });

  test('says in one line that Node.js is too old, which lacks what the rest asks for', () => {
    const older = `Object.defineProperty(process, 'versions', { value: { node: '14.21.3' } });
      Object.defineProperty(process, 'version', { value: 'v14.21.3' });
      delete process.getBuiltinModule;`;
    const preloaded = join(directory, 'older.cjs');
    writeFileSync(preloaded, older);
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['--require', preloaded, join(directory, 'nomad-rootless.mjs'), 'status'],
      { encoding: 'utf8' },
    );
    rmSync(preloaded);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toMatch(/^nomad-rootless: needs Node\.js 24 or later, but was started by v14\.21\.3 [^\n]*\n$/);
  });

  requires('root')('read by somebody else', () => {
    test.each([
      ['agent'],
      ['status'],
      ['explain', '1a2b3c4d'],
      ['check-config'],
      ['doctor'],
      ['setup', '--dry-run', 'alice'],
      ['cleanup'],
    ])('says in one line that %s is for root, where only root may read the configuration', (...args) => {
      chmodSync(directory, 0o755);
      const config = join(directory, 'config.yaml');
      writeFileSync(config, 'nomad: {token: geheim}\n', { mode: 0o600 });
      const { status, stderr } = spawnSync(
        process.execPath,
        [join(directory, 'nomad-rootless.mjs'), ...args, '--config', config],
        { encoding: 'utf8', uid: NOBODY, gid: NOBODY },
      );
      rmSync(config);
      expect(status).not.toBe(0);
      expect(stderr).toMatch(/^nomad-rootless: [^\n]*\broot\b[^\n]*\n$/);
    });
  });

  test('writes nothing where it is installed', () => {
    const before = readdirSync(directory, { recursive: true });
    run('--version');
    expect(readdirSync(directory, { recursive: true })).toEqual(before);
  });

  test('leaves nothing of an earlier build', () => {
    writeFileSync(join(directory, 'nomad-rootless-OLD.cjs'), '');
    execFileSync(process.execPath, [join(ROOT, 'scripts/build.ts'), directory]);
    expect(readdirSync(directory).filter((name) => name.endsWith('.cjs'))).toHaveLength(1);
  });

  test('runs all the same where V8 is not the one that made its code cache', () => {
    writeFileSync(`${bundle()}.cache`, 'of another V8');
    expect(run('--version')).toBe(`${VERSION}\n`);
  });
});
