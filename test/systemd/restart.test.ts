import { expect, test } from 'vitest';
import { documentedCommand } from '../support/shell-blocks.ts';
import { NEXT_VERSION } from '../support/systemd/bundles.ts';
import { GateProbe } from '../support/systemd/gate-probe.ts';
import { GATES } from '../support/systemd/machine-environment.ts';
import { ALL_ANSWERED, failuresOf, hasStayed, runJob, startBurst } from './cases.ts';
import { onMachine } from './on-machine.ts';

const BURST = 14;
/** Of a connection that stood and was cut; a connect that was refused reads otherwise. */
const CUT = /EOF|reset|hang up|broken pipe|EPIPE/i;
const REFUSED = /connect: |ECONNREFUSED|ENOENT/;

onMachine('while the agent is started again', (environment) => {
  const probe = () => GateProbe.start(environment().machine, Object.values(GATES));

  test('systemd keeps the gates, takes word from the agent alone, and shows how it is', async () => {
    const names = ['NFileDescriptorStore', 'NotifyAccess', 'StatusText'] as const;
    const shown = await environment().agent.show(...names);
    expect(Number(shown.NFileDescriptorStore)).toBeGreaterThanOrEqual(Object.keys(GATES).length);
    expect(shown.NotifyAccess).toBe('main');
    expect(shown.StatusText).not.toBe('');
  });

  test('a restart in a burst of starting allocations fails none of them, and no connect', async () => {
    const { agent, nomad } = environment();
    await using seen = await probe();
    const burst = startBurst(nomad, 'restart', BURST);
    expect(await agent.systemctl('restart')).toMatchObject({ code: 0 });
    expect(await failuresOf(await burst)).toEqual([]);
    expect(await seen.end()).toEqual(ALL_ANSWERED);
  });

  test('kill -9 in a burst refuses no connect, and fails nothing but what was in flight', async () => {
    const { agent, nomad } = environment();
    await using seen = await probe();
    const pid = await agent.mainPid();
    const burst = startBurst(nomad, 'killed', BURST);
    await agent.kill('SIGKILL');
    await agent.waitForOtherThan(pid);
    const failures = await failuresOf(await burst);
    for (const failure of failures) {
      expect(failure).toMatch(CUT);
      expect(failure).not.toMatch(REFUSED);
    }
    expect((await seen.end()).refused).toEqual({});
  });

  test('a new bundle is copied over the old one, and what runs is not touched', async () => {
    const { agent, nomad } = environment();
    const running = await Promise.all([runJob(nomad, 'upgraded-alice', 'alice'), runJob(nomad, 'upgraded-bob', 'bob')]);
    expect(await failuresOf(running)).toEqual([]);
    await using seen = await probe();
    await agent.copyBundle('next');
    const restart = documentedCommand('docs/operations.md', 'systemctl restart nomad-rootless');
    await environment().machine.mustRun(['sh', '-c', restart]);
    await agent.waitUntilReady();
    expect((await agent.command('--version')).stdout.trim()).toBe(NEXT_VERSION);
    expect(await agent.info()).toContain(`version="${NEXT_VERSION}"`);
    expect(await seen.end()).toEqual(ALL_ANSWERED);
    expect(await Promise.all(running.map(hasStayed))).toEqual([true, true]);
    expect(await failuresOf([await runJob(nomad, 'after-upgrade', 'alice')])).toEqual([]);
  });

  test('an agent that hangs is started again by systemd, and no connect is refused', async () => {
    const { agent, machine } = environment();
    await machine.writeFile('/etc/systemd/system/nomad-rootless.service.d/soon.conf', '[Service]\nWatchdogSec=4s\n');
    await machine.mustRun(['systemctl', 'daemon-reload']);
    expect(await agent.systemctl('restart')).toMatchObject({ code: 0 });
    await using seen = await probe();
    const pid = await agent.mainPid();
    await agent.kill('SIGSTOP');
    await agent.waitForOtherThan(pid);
    expect(await agent.journal()).toMatch(/Watchdog timeout/);
    await agent.waitUntilReady();
    expect((await seen.end()).refused).toEqual({});
  });
});
