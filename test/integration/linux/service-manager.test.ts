import { closeSync, fstatSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ServiceManager } from '../../../src/linux/service-manager.ts';
import { PlayedServiceManager } from '../../support/service-manager.ts';

let directory: string;
let played: PlayedServiceManager;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'manager-'));
  played = new PlayedServiceManager(join(directory, 'notify'));
});
afterEach(() => {
  played[Symbol.dispose]();
  rmSync(directory, { recursive: true });
});

/** By which systemd says whom it has started. */
const OURS = { SYSTEMD_EXEC_PID: String(process.pid) };
const WAIT = { timeout: 4000, interval: 5 };

test('what is said is heard, line by line', async () => {
  const manager = new ServiceManager(played.environment);
  expect(manager.keeps).toBe(true);
  manager.notify('READY=1', 'STATUS=all is well');
  await vi.waitFor(() => expect(played.said).toEqual(['READY=1', 'STATUS=all is well']), WAIT);
});

test('a file descriptor that is handed over stays open when ours is closed, until it is to be forgotten', async () => {
  const manager = new ServiceManager(played.environment);
  const fd = openSync('/etc/hostname', 'r');
  const { ino } = fstatSync(fd);
  manager.keep('a-name', fd);
  closeSync(fd);
  await vi.waitFor(() => expect([...played.kept.keys()]).toEqual(['a-name']), WAIT);
  expect(fstatSync(played.kept.get('a-name') ?? -1).ino).toBe(ino);
  manager.forget('a-name');
  await vi.waitFor(() => expect(played.kept.size).toBe(0), WAIT);
});

test('the next process takes what was kept by its name, once, and no child of it inherits it', async () => {
  played.kept.set('gate-alice', openSync('/etc/hostname', 'r'));
  played.kept.set('gate-bob', openSync('/etc/passwd', 'r'));
  const module = join(import.meta.dirname, '../../../src/linux/service-manager.ts');
  const script = `
    import { execFileSync } from 'node:child_process';
    import { readlinkSync } from 'node:fs';
    const { ServiceManager } = await import(${JSON.stringify(module)});
    const manager = new ServiceManager(process.env);
    const fd = manager.take('gate-bob');
    const inherited = execFileSync('/bin/ls', ['-l', '/proc/self/fd'], { encoding: 'utf8' });
    console.log(JSON.stringify({
      bob: readlinkSync('/proc/self/fd/' + fd),
      again: manager.take('gate-bob'),
      unknown: manager.take('gate-carol'),
      isInherited: inherited.includes('/etc/passwd') || inherited.includes('/etc/hostname'),
    }));
    manager.dropRest();`;
  const child = played.start([process.execPath, '--input-type=module', '-e', script]);
  const said = child.stdout ? (await buffer(child.stdout)).toString() : '';
  expect(JSON.parse(said)).toEqual({ bob: '/etc/passwd', isInherited: false });
  await vi.waitFor(() => expect([...played.kept.keys()]).toEqual(['gate-bob']), WAIT);
});

test('what was meant for another process is left alone', () => {
  const manager = new ServiceManager({
    ...OURS,
    LISTEN_PID: '1',
    LISTEN_FDS: '1',
    WATCHDOG_PID: '1',
    WATCHDOG_USEC: '5000000',
  });
  expect(manager.take('unknown')).toBeUndefined();
  expect(manager.watchdogMs).toBeUndefined();
  expect(manager.keeps).toBe(false);
});

test('a task of raw_exec, which inherits what systemd has told Nomad, takes none of it for its own', async () => {
  const inherited = {
    ...played.environment,
    SYSTEMD_EXEC_PID: '1',
    STATE_DIRECTORY: '/var/lib/nomad',
    WATCHDOG_USEC: '1',
  };
  const manager = new ServiceManager(inherited);
  expect(manager).toMatchObject({ keeps: false, watchdogMs: undefined, stateDirectory: undefined });
  manager.notify('STOPPING=1');
  new ServiceManager(played.environment).notify('READY=1');
  await vi.waitFor(() => expect(played.said).toEqual(['READY=1']), WAIT);
});

test('without a service manager nothing is said and nothing fails', () => {
  const manager = new ServiceManager({});
  expect(manager.keeps).toBe(false);
  manager.notify('READY=1');
  manager.forget('x');
});

test.each([
  [{ NOTIFY_SOCKET: 'relative' }, 'NOTIFY_SOCKET'],
  [{ NOTIFY_SOCKET: `/${'x'.repeat(200)}` }, 'NOTIFY_SOCKET'],
  [{ WATCHDOG_USEC: 'soon' }, 'WATCHDOG_USEC'],
])('an environment that is none of systemd`s is said: %j', (environment, where) => {
  expect(() => new ServiceManager({ ...OURS, ...environment })).toThrow(where);
});
