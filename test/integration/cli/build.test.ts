import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compileBundle } from '../../../scripts/bundle/script.ts';
import { VERSION } from '../../../src/version.ts';

const ROOT = join(import.meta.dirname, '../../..');

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
