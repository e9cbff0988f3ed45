import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { VERSION } from '../../../src/version.ts';

test('what is built runs from another directory, with nothing but what is beside it', { timeout: 60_000 }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'nomad-rootless-build-'));
  try {
    execFileSync(process.execPath, [join(import.meta.dirname, '../../../scripts/build.ts'), directory]);
    const bundle = join(directory, 'nomad-rootless.mjs');
    const run = (...args: string[]) =>
      execFileSync(process.execPath, [bundle, ...args], { cwd: '/', encoding: 'utf8' });
    expect(run('--version')).toBe(`${VERSION}\n`);
    expect(run('check-config')).toContain('podman_user');
  } finally {
    rmSync(directory, { recursive: true });
  }
});
