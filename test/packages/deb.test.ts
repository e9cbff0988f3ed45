import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compileBundle } from '../../scripts/bundle/script.ts';
import { VERSION } from '../../src/version.ts';
import { mustRun, runCommand } from '../support/command.ts';
import { builtPackage } from '../support/packages/built.ts';
import { CleanRoot } from '../support/packages/clean-root.ts';
import { requires } from '../support/requires.ts';
import { createSandbox, type Sandbox } from '../support/sandbox.ts';

const PROJECT = new URL('../..', import.meta.url).pathname;
const NEXT_VERSION = '9.9.9';
const BUILD_MS = 120_000;
const CONFIG = '/etc/nomad-rootless/config.yaml';
requires(
  'root',
  'sandbox',
  'packages',
)('the package for Debian', () => {
  let sandbox: Sandbox;
  const deb = () => builtPackage('once', '.deb');
  let next: string;
  let unpacked: string;

  beforeAll(async () => {
    sandbox = await createSandbox();
    unpacked = join(sandbox.directory, 'unpacked');
    await mustRun(['dpkg-deb', '--raw-extract', deb(), unpacked]);
    const control = join(unpacked, 'DEBIAN/control');
    writeFileSync(control, readFileSync(control, 'utf8').replace(/^Version: .*$/m, `Version: ${NEXT_VERSION}`));
    next = join(sandbox.directory, 'next.deb');
    await mustRun(['dpkg-deb', '-Znone', '--build', unpacked, next], { timeoutMs: BUILD_MS });
  }, BUILD_MS);
  afterAll(() => sandbox?.dispose());

  const inPackage = (path: string) => join(unpacked, path);
  const library = (path: string) => inPackage(join('usr/lib/nomad-rootless', path));

  test('has the Node.js that the project is tested with, and its license', () => {
    const ours = createRequire(import.meta.url).resolve('node/bin/node');
    expect(readFileSync(library('node')).equals(readFileSync(ours))).toBe(true);
    expect(readFileSync(library('node.LICENSE'), 'utf8')).toMatch(/^Node\.js is licensed/);
  });

  test('has a code cache that its V8 takes', () => {
    const bundle = readdirSync(library('')).find((name) => name.endsWith('.cjs')) ?? 'no bundle';
    const cache = readFileSync(library(`${bundle}.cache`));
    expect(compileBundle(library(bundle), cache).cachedDataRejected).toBe(false);
  });

  test('has what the unit, the documents and the runbooks of the alerts name', () => {
    const unit = readFileSync(inPackage('usr/lib/systemd/system/nomad-rootless.service'), 'utf8');
    const [, program = ''] = /^ExecStart=(\S+)/m.exec(unit) ?? [];
    const alerts = readFileSync(join(PROJECT, 'deploy/prometheus/nomad-rootless.rules.yml'), 'utf8');
    const named = [unit, alerts].flatMap((text) =>
      [...text.matchAll(/file:\/\/([^#\s]+)/g)].map(([, path = '']) => path),
    );
    expect(named.length).toBeGreaterThan(1);
    expect([program, ...named].filter((path) => !lstatSync(inPackage(path), { throwIfNoEntry: false }))).toEqual([]);
    for (const path of ['deploy/config.example.yaml', 'examples/nomad.hcl', 'SECURITY.md', 'CONTRIBUTING.md']) {
      expect(existsSync(inPackage(join('usr/share/doc/nomad-rootless', path))), path).toBe(true);
    }
  });

  test('is installed without starting or enabling anything, upgraded with its configuration kept, and purged without a trace', async () => {
    await using root = await CleanRoot.create(sandbox);
    const before = await root.files();
    expect(await root.install(deb())).toContain('nothing is started yet');
    expect(await root.run('nomad-rootless', '--version')).toEqual({ code: 0, stdout: `${VERSION}\n`, stderr: '' });
    expect(statSync(root.path(CONFIG)).mode & 0o777).toBe(0o600);
    expect((await root.run('nomad-rootless', 'check-config')).code).toBe(0);
    expect(existsSync(root.path('/etc/systemd/system/multi-user.target.wants/nomad-rootless.service'))).toBe(false);

    writeFileSync(root.path(CONFIG), 'min_uid: 1234\n');
    expect(await root.install(next)).not.toContain('nothing is started yet');
    expect(await root.dpkg('--status', 'nomad-rootless')).toContain(`Version: ${NEXT_VERSION}`);
    expect(readFileSync(root.path(CONFIG), 'utf8')).toBe('min_uid: 1234\n');

    await root.dpkg('--remove', 'nomad-rootless');
    expect(existsSync(root.path('/usr/lib/nomad-rootless'))).toBe(false);
    expect(readFileSync(root.path(CONFIG), 'utf8')).toBe('min_uid: 1234\n');
    await root.dpkg('--purge', 'nomad-rootless');
    expect(await root.files()).toEqual(before);
  }, 180_000);

  test('is removed with what takes away the rest of it, and purging does that', async () => {
    await using root = await CleanRoot.create(sandbox);
    // Nomad's, and there where it runs.
    mkdirSync(root.path('/run/netns'));
    const before = await root.files();
    await root.install(deb());
    writeFileSync(root.path(CONFIG), 'nomad: { alloc_dir: /tmp/alloc }\nusers: { }\n');
    for (const path of ['/tmp/alloc', '/run/nomad-rootless', '/run/nomad-rootless/gate']) mkdirSync(root.path(path));
    const gate = root.path('/run/nomad-rootless/gate/alice.sock');
    // Killed, so that the socket's file stays.
    const listen = `require('node:net').createServer().listen('${gate}', () => process.kill(process.pid, 'SIGKILL'))`;
    await runCommand([process.execPath, '--eval', listen]);
    expect(existsSync(gate)).toBe(true);

    const said = await root.dpkg('--remove', 'nomad-rootless');
    expect(said).toContain('  socket: /run/nomad-rootless/gate/alice.sock');
    expect(said).toContain('run /var/lib/nomad-rootless/removed/cleanup');
    const dry = await root.run('/var/lib/nomad-rootless/removed/cleanup', '--dry-run');
    expect(dry.stdout).toContain('would remove socket: /run/nomad-rootless/gate/alice.sock');
    expect(existsSync(gate)).toBe(true);

    await root.dpkg('--purge', 'nomad-rootless');
    expect(existsSync(root.path('/run/nomad-rootless'))).toBe(false);
    expect(await root.files()).toEqual(before);
  }, 180_000);

  test('is not purged over what is mounted in its run directory, below which lie the files of tasks', async () => {
    await using root = await CleanRoot.create(sandbox);
    await root.install(deb());
    for (const path of ['/tmp/task', '/run/nomad-rootless', '/run/nomad-rootless/view']) mkdirSync(root.path(path));
    writeFileSync(root.path('/tmp/task/precious'), 'x');
    await mustRun(['mount', '--bind', root.path('/tmp/task'), root.path('/run/nomad-rootless/view')]);
    expect(await root.dpkg('--purge', 'nomad-rootless')).toContain('stays until the next boot');
    expect(readFileSync(root.path('/tmp/task/precious'), 'utf8')).toBe('x');
  }, 180_000);
});
