import { expect, test } from 'vitest';
import { GateProbe } from '../support/systemd/gate-probe.ts';
import { InstalledAgent, UNIT } from '../support/systemd/installed-agent.ts';
import { ALL_ANSWERED } from './cases.ts';
import { onMachine } from './on-machine.ts';

const GATE = '/run/nomad-rootless/gate/carol.sock';
const STATE = `
grep carol /etc/subuid /etc/subgid
ls /var/lib/systemd/linger
cat /etc/nomad-rootless/config.yaml
systemctl show --property=UnitFileState,ActiveState ${UNIT}
ls /var/lib/nomad-rootless/setup.json /home/carol/.config/systemd/user/sockets.target.wants 2>&1
true
`;

/** In the order of a user's life; the unit is the package's, which enables nothing. */
onMachine(
  'setup, beside a real systemd',
  (environment) => {
    const state = () => environment().machine.mustRun(['sh', '-c', STATE]);
    async function setup(...args: string[]): Promise<string> {
      const { code, stdout, stderr } = await environment().agent.command('setup', ...args, 'carol');
      if (code !== 0) throw new Error(`setup: exit code ${code}: ${stdout}${stderr}`);
      return stdout;
    }
    let before = '';

    test('prints what a new user and the unit lack, and changes nothing where it is only to print', async () => {
      const { machine, agent } = environment();
      await agent.systemctl('stop');
      await machine.mustRun(['systemctl', 'clean', '--what=fdstore', UNIT]);
      await agent.configure({ users: {} });
      const none = ['--key', 'SUB_UID_COUNT=0', '--key', 'SUB_GID_COUNT=0'];
      await machine.mustRun(['useradd', '--create-home', ...none, 'carol']);
      before = await state();
      expect(before).toContain('UnitFileState=disabled');
      const dry = await setup('--dry-run');
      expect(dry).toMatch(/^carol: would run usermod --add-subuids \d+-\d+ --add-subgids \d+-\d+ carol$/m);
      expect(dry).toContain('carol: would run loginctl enable-linger carol; systemctl start user@');
      expect(dry).toContain('carol: would run systemctl --user --machine=carol@ enable --now podman.socket\n');
      expect(dry).toContain('carol: would edit users in /etc/nomad-rootless/config.yaml\n');
      expect(dry).toContain(`\nwould run systemctl enable --now ${UNIT}\n`);
      expect(await state()).toBe(before);
    });

    test('does it: her gate answers from her Podman, and the unit starts with the next boot', async () => {
      const { machine, agent } = environment();
      const done = await setup();
      expect(done).toContain(`\nruns systemctl enable --now ${UNIT}\n`);
      expect(done).toContain(`socket_path = "unix://${GATE}"`);
      await agent.waitUntilReady();
      expect(await agent.show('UnitFileState', 'ActiveState')).toEqual({
        UnitFileState: 'enabled',
        ActiveState: 'active',
      });
      await using seen = await GateProbe.start(machine, [GATE]);
      expect(await seen.end()).toEqual(ALL_ANSWERED);
      const { stdout } = await agent.command('status');
      expect(stdout).toMatch(/carol\s.*\bup\b/);
    });

    test('run again, it changes nothing', async () => {
      const { agent } = environment();
      const after = await state();
      const pid = await agent.mainPid();
      expect(await setup()).toMatch(/^nothing to do: carol has everything\n/);
      expect(await state()).toBe(after);
      expect(await agent.mainPid()).toBe(pid);
    });

    test('takes all of it back, and her gate turns away who asks', async () => {
      const { machine, agent } = environment();
      expect(await setup('--undo')).toContain(`runs systemctl disable --now ${UNIT}`);
      expect(await state()).toBe(before);
      await using seen = await GateProbe.start(machine, [GATE]);
      expect((await seen.end()).answered).toBe(0);
      expect(await setup('--undo')).toBe('nothing to undo: setup has changed nothing for carol\n');
      expect((await agent.show('ActiveState')).ActiveState).toBe('inactive');
    });

    test('leaves a unit as it is that its operator has enabled', async () => {
      const { machine, agent } = environment();
      await machine.mustRun(['systemctl', 'enable', '--now', UNIT]);
      expect(await setup()).toContain(`runs systemctl reload ${UNIT}\n`);
      expect(await setup('--undo')).not.toContain('disable --now nomad-rootless');
      expect(await agent.show('UnitFileState', 'ActiveState')).toEqual({
        UnitFileState: 'enabled',
        ActiveState: 'active',
      });
    });
  },
  InstalledAgent.installPackage,
);
