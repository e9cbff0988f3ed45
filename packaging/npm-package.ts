import { execFileSync } from 'node:child_process';
import { hash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NpmPackage } from './architecture.ts';

/**
 * Unpacks an npm package for whatever architecture into a new directory. npm has it in its cache where it was installed here.
 * @throws Error where it is not what was written down
 */
export function unpackNpmPackage({ name, version, integrity }: NpmPackage, directory: string): void {
  const scratch = mkdtempSync(join(tmpdir(), 'nomad-rootless-npm-'));
  try {
    execFileSync('npm', ['pack', '--silent', '--pack-destination', scratch, `${name}@${version}`], { stdio: 'pipe' });
    const [tarball] = readdirSync(scratch);
    if (tarball === undefined) throw new Error(`npm pack ${name}@${version}: expected a file in ${scratch}, got none`);
    const got = `sha512-${hash('sha512', readFileSync(join(scratch, tarball)), 'base64')}`;
    if (got !== integrity) throw new Error(`${name}@${version}: expected ${integrity}, got ${got}`);
    mkdirSync(directory);
    execFileSync('tar', [
      ...['--extract', '--gzip', '--file', join(scratch, tarball), '--directory', directory],
      ...['--strip-components=1', '--no-same-owner'],
    ]);
  } finally {
    rmSync(scratch, { recursive: true });
  }
}
