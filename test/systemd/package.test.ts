import { expect, test } from 'vitest';
import { NEXT_VERSION } from '../support/systemd/bundles.ts';
import { GateProbe } from '../support/systemd/gate-probe.ts';
import { InstalledAgent, UNIT } from '../support/systemd/installed-agent.ts';
import { IN_MACHINE } from '../support/systemd/machine.ts';
import { GATES } from '../support/systemd/machine-environment.ts';
import { ALL_ANSWERED, failuresOf, hasStayed, runJob, startBurst, startJob } from './cases.ts';
import { onMachine } from './on-machine.ts';

const BURST = 10;
const OURS = ['/etc/nomad-rootless', '/usr/lib/nomad-rootless', '/var/lib/nomad-rootless', '/run/nomad-rootless'];

/** In the order of a package's life. */
onMachine(
  'when the agent is of the package',
  (environment) => {
    test('it was not enabled, and was started by who installed it alone', async () => {
      const { machine, agent } = environment();
      expect((await machine.run(['systemctl', 'is-enabled', UNIT])).stdout.trim()).toBe('disabled');
      expect((await agent.show('FragmentPath')).FragmentPath).toBe(`/usr/lib/systemd/system/${UNIT}`);
      await machine.mustRun(['systemctl', 'enable', UNIT]);
    });

    test('an upgrade in a burst of starting allocations fails none of them and no connect, and tasks stay', async () => {
      const { agent, nomad } = environment();
      const running = await Promise.all([runJob(nomad, 'before-alice', 'alice'), runJob(nomad, 'before-bob', 'bob')]);
      expect(await failuresOf(running)).toEqual([]);
      const pid = await agent.mainPid();
      await using seen = await GateProbe.start(environment().machine, Object.values(GATES));
      const burst = startBurst(nomad, 'upgrade', BURST);
      await agent.dpkg('--install', `${IN_MACHINE.bundles}/next.deb`);
      await agent.waitForOtherThan(pid);
      await agent.waitUntilReady();
      expect(await failuresOf(await burst)).toEqual([]);
      expect(await seen.end()).toEqual(ALL_ANSWERED);
      expect(await agent.info()).toContain(`version="${NEXT_VERSION}"`);
      expect(await Promise.all(running.map(hasStayed))).toEqual([true, true]);
    });

    test('a removal stops it, lets tasks run, and says what is left and what takes that away', async () => {
      const { machine, agent, nomad, users } = environment();
      // It goes with the machine: without a gate Nomad can take no container away.
      expect(await failuresOf([await startJob(nomad, 'left-alice', 'alice')])).toEqual([]);
      const containers = async () => (await users.alice.run(['podman', 'ps', '--quiet'])).trim();
      const before = await containers();
      expect(before).not.toBe('');

      const said = await agent.dpkg('--remove', 'nomad-rootless');
      expect(said).toMatch(/^ {2}view: /m);
      expect(said).toContain(`  socket: ${GATES.alice}`);
      expect((await agent.show('ActiveState')).ActiveState).toBe('inactive');
      expect(await containers()).toBe(before);
      const dry = await machine.run(['/var/lib/nomad-rootless/removed/cleanup', '--dry-run']);
      expect(dry.stdout).toContain(`would remove socket: ${GATES.alice}`);
      await using seen = await GateProbe.start(machine, [GATES.alice]);
      expect((await seen.end()).answered).toBe(0);

      await agent.dpkg('--purge', 'nomad-rootless');
      expect(await containers()).toBe(before);
      for (const path of OURS) expect((await machine.run(['test', '-e', path])).code, path).toBe(1);
      expect(await machine.mustRun(['cat', '/proc/self/mountinfo'])).not.toContain(' /run/nomad-rootless');
      expect((await agent.show('LoadState')).LoadState).toBe('not-found');
    });
  },
  InstalledAgent.installPackage,
);
