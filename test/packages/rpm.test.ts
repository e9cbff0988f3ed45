import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type CommandResult, mustRun, runCommand } from '../support/command.ts';
import { builtPackage } from '../support/packages/built.ts';
import { CleanRoot } from '../support/packages/clean-root.ts';
import { requires } from '../support/requires.ts';
import { createSandbox, type Sandbox } from '../support/sandbox.ts';

const CONFIG = '/etc/nomad-rootless/config.yaml';
const TIMEOUT_MS = 120_000;

/** A root in which rpm has no books yet: this host's, where dpkg has put the programs that the package wants. */
requires(
  'root',
  'sandbox',
  'packages',
)('the RPM, in a clean root without systemd', () => {
  let sandbox: Sandbox;
  let root: CleanRoot;
  beforeEach(async () => {
    sandbox = await createSandbox({ users: [] });
    root = await CleanRoot.create(sandbox);
    await mustRun(['cp', builtPackage('once', '.rpm'), root.path('/tmp/package.rpm')]);
  });
  afterEach(async () => {
    await root?.[Symbol.asyncDispose]();
    await sandbox?.dispose();
  });

  /** Without its dependencies: those are packages of another distribution, of which this root's rpm knows nothing. */
  async function rpm(...args: readonly string[]): Promise<CommandResult> {
    const done = await root.run('rpm', '--nodeps', ...args);
    expect(done, done.stderr).toMatchObject({ code: 0 });
    return done;
  }

  test('is installed, upgraded and removed; what was edited is kept aside', async () => {
    const before = await root.files();
    await rpm('--install', '/tmp/package.rpm');
    expect((await root.run('nomad-rootless', '--version')).code).toBe(0);
    expect((await root.run('nomad-rootless', 'check-config')).code).toBe(0);
    expect((await root.run('rpm', '--verify', '--nodeps', 'nomad-rootless')).stdout).toBe('');
    await root.run('sh', '-c', `echo '# edited' >>${CONFIG}`);
    await rpm('--upgrade', '--force', '/tmp/package.rpm');
    expect((await root.run('tail', '-n', '1', CONFIG)).stdout).toBe('# edited\n');
    expect((await root.run('nomad-rootless', '--version')).code).toBe(0);
    await rpm('--erase', 'nomad-rootless');
    const books = /^\/(var\/lib\/(rpm|nomad-rootless)|usr\/lib\/sysimage\/rpm|root\/\.rpmdb)(\/|$)/;
    const left = (await root.files()).filter((path) => !before.includes(path) && !books.test(path));
    // The last is zsh's where zsh is of an RPM.
    expect(left).toEqual(['/etc/nomad-rootless', `${CONFIG}.rpmsave`, '/usr/share/zsh/site-functions']);
  });

  test('lists the same files as the package for Debian, but for the documents of that', async () => {
    const unpacked = mkdtempSync(join(tmpdir(), 'nomad-rootless-rpm-'));
    try {
      const { stdout } = await runCommand(['rpm', '--query', '--package', '--list', builtPackage('once', '.rpm')], {
        timeoutMs: TIMEOUT_MS,
      });
      await mustRun(['dpkg-deb', '--extract', builtPackage('once', '.deb'), unpacked]);
      const { stdout: ofDeb } = await runCommand([
        'find',
        unpacked,
        '-type',
        'f',
        '-path',
        '*/usr/lib/*',
        '-printf',
        '/%P\n',
      ]);
      const ofRpm = new Set(stdout.split('\n'));
      const files = ofDeb.trim().split('\n');
      expect(files.length).toBeGreaterThan(5);
      expect(files.filter((path) => !ofRpm.has(path))).toEqual([]);
    } finally {
      rmSync(unpacked, { recursive: true });
    }
  });
});
