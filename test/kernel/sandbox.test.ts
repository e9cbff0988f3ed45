import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { runCommand } from '../support/command.ts';
import { requires } from '../support/requires.ts';
import { createSandbox, IMAGE } from '../support/sandbox.ts';
import { until } from '../support/until.ts';

requires(
  'root',
  'sandbox',
  'podman',
)('the sandbox', () => {
  test('gives each user a rootless Podman that runs containers as that user', async () => {
    await using sandbox = await createSandbox();
    for (const user of sandbox.users) {
      const map = await user.podman(['run', '--rm', '--network=host', IMAGE, 'cat', '/proc/self/uid_map']);
      expect(map.trim().split(/\s+/).slice(0, 3)).toEqual(['0', `${user.uid}`, '1']);
      expect(statSync(user.socket).uid).toBe(user.uid);
      expect(user.pausePid()).toBeGreaterThan(1);
    }
  });

  test('keeps an image with a USER of its own', async () => {
    await using sandbox = await createSandbox({ users: ['alice'] });
    const alice = sandbox.user('alice');
    await sandbox.buildImage(alice, 'localhost/app:1', { user: '1000' });
    expect(await alice.podman(['run', '--rm', '--network=none', 'localhost/app:1', 'id', '-u'])).toBe('1000\n');
  });

  test('stops the API service and starts it again', async () => {
    await using sandbox = await createSandbox({ users: ['alice'] });
    const alice = sandbox.user('alice');
    await alice.stopService();
    expect((await alice.run(['podman', '--remote', '--url', `unix://${alice.socket}`, 'version'])).code).not.toBe(0);
    await alice.startService();
    expect(await alice.podman(['--remote', '--url', `unix://${alice.socket}`, 'images', '-q'])).not.toBe('');
  });

  test('leaves no user, no process and no directory behind when it is disposed of', async () => {
    const before = readFileSync('/etc/passwd', 'utf8');
    const sandbox = await createSandbox({ users: ['alice'] });
    const alice = sandbox.user('alice');
    await alice.podman(['run', '--detach', '--network=host', IMAGE, 'sleep', '1000']);
    const pausePid = alice.pausePid();
    await sandbox.dispose();
    expect(readFileSync('/etc/passwd', 'utf8')).toBe(before);
    expect(existsSync(alice.runtimeDir)).toBe(false);
    expect(existsSync(sandbox.directory)).toBe(false);
    expect(existsSync(`/proc/${pausePid}`)).toBe(false);
  });

  test('ends with the process that made the namespaces, by kill -9 too', async () => {
    const namespaces = fileURLToPath(new URL('../support/namespaces.ts', import.meta.url));
    const script = `(await import(${JSON.stringify(namespaces)})).runInNamespaces(['sleep', '4321'])`;
    const maker = spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: 'ignore' });
    const pid = await until('the command runs in the namespaces', () => pidOf('sleep', '4321'));
    maker.kill('SIGKILL');
    await until('the command has ended', () => !existsSync(`/proc/${pid}`));
  });

  test('has none of the accounts of where it is made, nor what is said to Podman there', async () => {
    await using outer = await createSandbox({ users: [] });
    outer.addUser('alice');
    mkdirSync('/etc/containers', { recursive: true });
    writeFileSync('/etc/containers/containers.conf', '[containers]\nuserns = "auto"\n');
    onTestFinished(() => rmSync('/etc/containers', { recursive: true }));
    const looks = 'getent passwd alice 2001; cat /etc/subuid /etc/subgid; ls -d /etc/containers; getent passwd nobody';
    const namespaces = fileURLToPath(new URL('../support/namespaces.ts', import.meta.url));
    const script = `(await import(${JSON.stringify(namespaces)})).runInNamespaces(['sh', '-c', ${JSON.stringify(looks)}])`;
    const { stdout } = await runCommand([process.execPath, '--input-type=module', '--eval', script]);
    expect(stdout).toBe('nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n');
  });

  test('refuses a user name that is taken', async () => {
    await using sandbox = await createSandbox({ users: [] });
    expect(() => sandbox.addUser('root')).toThrow('there is a user root already');
  });
});

/** The process with exactly these arguments. */
function pidOf(...argv: readonly string[]): number | undefined {
  const wanted = `${argv.join('\0')}\0`;
  return readdirSync('/proc')
    .map(Number)
    .find((pid) => pid > 0 && existsSync(`/proc/${pid}`) && readFileSync(`/proc/${pid}/cmdline`, 'utf8') === wanted);
}
