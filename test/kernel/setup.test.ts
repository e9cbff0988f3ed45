import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import { mustRun, runCommand } from '../support/command.ts';
import { requires } from '../support/requires.ts';
import { Sandbox } from '../support/sandbox.ts';

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname;
const LINGER = '/var/lib/systemd/linger/alice';
const RECORD = '/var/lib/nomad-rootless/setup.json';
const WRITTEN = '# ours\nmin_uid: 1000\n';

requires('root', 'sandbox')('setup', () => {
  let sandbox: Sandbox;
  let config: string;
  let calls: string;
  /** What systemd says of the agent's unit. */
  let unit: string;

  beforeEach(async () => {
    sandbox = new Sandbox();
    const { uid, socket } = sandbox.addUser('alice', { subordinateIds: false });
    config = join(sandbox.directory, 'config.yaml');
    calls = join(sandbox.directory, 'calls');
    unit = join(sandbox.directory, 'unit');
    writeFileSync(unit, 'LoadState=loaded\nUnitFileState=enabled\nActiveState=active\n');
    writeFileSync(config, WRITTEN);
    chmodSync(config, 0o640);
    writeFileSync(calls, '');
    await mustRun(['mount', '-t', 'tmpfs', 'tmpfs', '/var/lib']);
    mkdirSync('/var/lib/systemd/linger', { recursive: true });
    mkdirSync('/run/systemd/system', { recursive: true });
    const listen = `require('node:net').createServer().listen('${socket}')`;
    const pid = join(sandbox.directory, 'pid');
    await standIn(
      '/usr/bin/loginctl',
      `case $1 in enable-linger) : >${LINGER} ;; disable-linger) rm ${LINGER} ;; esac`,
    );
    await standIn(
      '/usr/bin/systemctl',
      `case "$*" in
        --*version) echo 'systemd 257' ;;
        *show*nomad-rootless*) cat ${unit} ;;
        *show*) [ -e ${LINGER} ] && echo ActiveState=active ;;
        'enable --now nomad-rootless'*) echo 'LoadState=loaded\nUnitFileState=enabled\nActiveState=active' >${unit} ;;
        'disable --now nomad-rootless'*) echo 'LoadState=loaded\nUnitFileState=disabled\nActiveState=inactive' >${unit} ;;
        *enable*) setpriv --reuid=${uid} --regid=${uid} --clear-groups ${process.execPath} -e "${listen}" >/dev/null 2>&1 &
          echo $! >${pid}; while [ ! -S ${socket} ]; do sleep 0.05; done ;;
        *disable*) kill -9 $(cat ${pid}); rm ${socket} ;;
      esac; true`,
    );
  });
  afterEach(async () => {
    for (const path of ['/usr/bin/systemctl', '/usr/bin/loginctl', '/var/lib']) await mustRun(['umount', path]);
    rmSync('/run/systemd', { recursive: true });
    await sandbox.dispose();
  });

  /** Puts a script in the place of a program that has no systemd here to talk to. It notes how it was called. */
  async function standIn(program: string, lines: string): Promise<void> {
    const script = join(sandbox.directory, program.replaceAll('/', '-'));
    writeFileSync(
      script,
      `#!/bin/sh\nexport PATH=/usr/bin:/bin\ncase "$*" in *show* | *version) ;; *) echo "$*" >>${calls} ;; esac\n${lines}\n`,
    );
    chmodSync(script, 0o755);
    await mustRun(['mount', '--bind', script, program]);
  }

  const setup = (...args: string[]) => runCommand([process.execPath, MAIN, 'setup', '--config', config, ...args]);
  const state = () => ({
    calls: readFileSync(calls, 'utf8').split('\n').filter(Boolean),
    config: readFileSync(config, 'utf8'),
    subuid: readFileSync('/etc/subuid', 'utf8'),
    subgid: readFileSync('/etc/subgid', 'utf8'),
    lingers: existsSync(LINGER),
    isRecorded: existsSync(RECORD),
  });

  test('does what a user lacks, tells each change, does nothing twice, and takes it back', async () => {
    const before = state();
    const dry = await setup('--dry-run', 'alice');
    expect(dry).toMatchObject({ code: 0, stderr: '' });
    expect(dry.stdout).toContain(`alice: would edit users in ${config}`);
    expect(state()).toEqual(before);

    const done = await setup('alice');
    expect(done).toMatchObject({ code: 0, stderr: '' });
    expect(done.stdout.replaceAll(config, 'CONFIG')).toMatchInlineSnapshot(`
      "alice: runs usermod --add-subuids 100000-165535 --add-subgids 100000-165535 alice
      alice: runs loginctl enable-linger alice; systemctl start user@2001.service
      alice: runs systemctl --user --machine=alice@ enable --now podman.socket
      alice: edits users in CONFIG
      runs systemctl reload nomad-rootless.service

      Nomad's client configuration needs these blocks, beside those of other users; restart Nomad after changing it:

      plugin "nomad-driver-podman" {
        config {
          socket {
            name        = "alice"
            socket_path = "unix:///run/nomad-rootless/gate/alice.sock"
          }
        }
      }
      "
    `);
    expect(state()).toEqual({
      calls: [
        'enable-linger alice',
        'start user@2001.service',
        '--user --machine=alice@ enable --now podman.socket',
        'reload nomad-rootless.service',
      ],
      config: `${WRITTEN}users:\n  alice: {}\n`,
      subuid: 'alice:100000:65536\n',
      subgid: 'alice:100000:65536\n',
      lingers: true,
      isRecorded: true,
    });
    expect(statSync(config).mode & 0o777).toBe(0o640);

    const after = state();
    expect((await setup('alice')).stdout).toMatch(/^nothing to do: alice has everything\n/);
    expect(state()).toEqual(after);

    const undone = await setup('--undo', 'alice');
    expect(undone).toMatchObject({ code: 0, stderr: '' });
    expect(state()).toEqual({
      ...before,
      config: `${WRITTEN}users: {}\n`,
      calls: [
        ...after.calls,
        'reload nomad-rootless.service',
        '--user --machine=alice@ disable --now podman.socket podman.service',
        'disable-linger alice',
        'stop user-2001.slice',
      ],
    });
    expect((await setup('--undo', 'alice')).stdout).toBe('nothing to undo: setup has changed nothing for alice\n');
  });

  test('enables and starts a unit that nobody has enabled yet, and disables it with its last user', async () => {
    writeFileSync(unit, 'LoadState=loaded\nUnitFileState=disabled\nActiveState=inactive\n');
    const dry = await setup('--dry-run', 'alice');
    expect(dry.stdout).toContain('would run systemctl enable --now nomad-rootless.service\n');
    expect(dry.stdout).not.toContain('reload');
    expect(state().calls).toEqual([]);

    const done = await setup('alice');
    expect(done).toMatchObject({ code: 0, stderr: '' });
    expect(done.stdout).toContain('\nruns systemctl enable --now nomad-rootless.service\n');
    expect(state().calls.at(-1)).toBe('enable --now nomad-rootless.service');
    expect((await setup('alice')).stdout).toMatch(/^nothing to do: /);

    writeFileSync(config, `${WRITTEN}users: { alice: {}, carol: {} }\n`);
    const kept = await setup('--undo', '--dry-run', 'alice');
    expect(kept.stdout).toContain('nomad-rootless.service stays enabled, for carol\n');
    expect(kept.stdout).not.toContain('disable --now nomad-rootless');
    writeFileSync(config, `${WRITTEN}users: { alice: {} }\n`);
    const before = state().calls.length;
    expect(await setup('--undo', 'alice')).toMatchObject({ code: 0, stderr: '' });
    expect(state().calls.slice(before, before + 3)).toEqual([
      'disable --now nomad-rootless.service',
      'clean --what=fdstore nomad-rootless.service',
      '--user --machine=alice@ disable --now podman.socket podman.service',
    ]);
    expect(state().isRecorded).toBe(false);
  });

  test('enables no unit beside an agent that Nomad runs', async () => {
    writeFileSync(unit, 'LoadState=loaded\nUnitFileState=disabled\nActiveState=inactive\n');
    const socket = join(sandbox.directory, 'admin.sock');
    writeFileSync(config, `admin: { socket: ${socket} }\n`);
    const server = createServer((_, response) => response.writeHead(500).end()).listen(socket);
    onTestFinished(() => void server.close());
    const { stdout, code } = await setup('alice');
    expect(code).toBe(0);
    expect(stdout).toContain('nomad-rootless.service is not active, and an agent runs in another way');
    expect(state().calls.join()).not.toContain('nomad-rootless');
    expect((await setup('--undo', 'alice')).code).toBe(0);
    expect(state().calls.join()).not.toContain('nomad-rootless');
  });

  test('changes nothing for anybody where it cannot do all for one', async () => {
    const before = state();
    const { code, stderr } = await setup('alice', 'nobody-here', 'daemon');
    expect(code).toBe(1);
    expect(stderr).toContain('user nobody-here: there is none on this host; make the account first');
    expect(stderr).toContain('user daemon: uid 1 is below min_uid, 1000');
    expect(state()).toEqual(before);
    expect((await setup('--', '-x')).code).toBe(2);
  });

  test('tells what has failed, and takes back what was done until then', async () => {
    await mustRun(['umount', '/usr/bin/loginctl']);
    await standIn('/usr/bin/loginctl', '[ $1 = disable-linger ] && exit 0; echo Access denied >&2; exit 1');
    const { code, stderr } = await setup('alice');
    expect(code).toBe(1);
    expect(stderr).toBe('nomad-rootless: loginctl enable-linger alice: Access denied\n');
    expect(state()).toMatchObject({ config: WRITTEN, subuid: 'alice:100000:65536\n', lingers: false });
    expect((await setup('alice')).code).toBe(1);
    expect(JSON.parse(readFileSync(RECORD, 'utf8'))).toMatchObject([{ kind: 'subordinate_ids' }, { kind: 'linger' }]);
    expect((await setup('--undo', 'alice')).code).toBe(0);
    expect(state()).toMatchObject({ subuid: '', isRecorded: false });
  });
});
