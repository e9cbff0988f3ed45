/**
 * `npm run test:packages`: builds the packages twice, and a .deb for arm64, and looks at what they hold, installs and completes. Root on Debian or
 * Ubuntu; installs the Debian packages that it needs. Anything on the command line is for vitest.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onPath } from '../on-path.ts';
import { ARM64, BUILDS, BUILT_VARIABLE } from './built.ts';

const PACKAGE = fileURLToPath(new URL('../../../packaging/package.ts', import.meta.url));
const RUN_TESTS = fileURLToPath(new URL('../run-tests.ts', import.meta.url));
/** Debian's packages by their programs. */
const NEEDED = { rpmbuild: 'rpm', mandoc: 'mandoc', zsh: 'zsh', fish: 'fish' };
/** As good as any other. */
const EPOCH = '1700000000';

const directory = mkdtempSync(join(tmpdir(), 'nomad-rootless-packages-'));
try {
  process.exitCode = (await installNeeded()) && (await buildAll()) ? await run(process.execPath, testArguments()) : 1;
} finally {
  rmSync(directory, { recursive: true });
}

async function installNeeded(): Promise<boolean> {
  const missing = Object.entries(NEEDED).flatMap(([program, name]) => (onPath(program) === undefined ? [name] : []));
  if (missing.length === 0) return true;
  console.log(`test:packages: installing the Debian packages: ${missing.join(' ')}`);
  const install = ['install', '--quiet', '--quiet', '--yes', '--no-install-recommends', ...missing];
  const quietly = { DEBIAN_FRONTEND: 'noninteractive' };
  return (
    (await run('apt-get', ['update', '--quiet', '--quiet'])) === 0 && (await run('apt-get', install, quietly)) === 0
  );
}

/** Both at once, in different directories; then the one for another processor. */
async function buildAll(): Promise<boolean> {
  const build = (name: string, ...args: string[]) =>
    run(process.execPath, [PACKAGE, '--to', join(directory, name), ...args], { SOURCE_DATE_EPOCH: EPOCH });
  const codes = await Promise.all(BUILDS.map((name) => build(name)));
  return [...codes, await build(ARM64, '--kind', 'deb', ARM64)].every((code) => code === 0);
}

function testArguments(): string[] {
  return [RUN_TESTS, '--packages', ...process.argv.slice(2)];
}

/** @returns the exit code */
async function run(program: string, args: readonly string[], added: Record<string, string> = {}): Promise<number> {
  const child = spawn(program, args, {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, [BUILT_VARIABLE]: directory, ...added },
  });
  const [code] = await once(child, 'exit');
  return code ?? 1;
}
