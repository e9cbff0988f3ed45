import { expect, onTestFinished, test } from 'vitest';
import * as z from 'zod';
import { UNIT } from '../support/systemd/installed-agent.ts';
import { onMachine } from './on-machine.ts';

const Report = z.object({
  checks: z.array(
    z.object({
      id: z.string(),
      user: z.string().optional(),
      verdict: z.enum(['ok', 'warning', 'failed']),
      found: z.string(),
      remedy: z.string().optional(),
    }),
  ),
});
/** What in a machine in namespaces is as systemd and its drop-ins have it. */
const OF_SERVICE = ['unit', 'boot', 'one_deployment', 'agent', 'linger', 'user_manager', 'podman_socket'];

onMachine('doctor, beside a real systemd', (environment) => {
  async function complaints() {
    const { checks } = Report.parse(JSON.parse((await environment().agent.command('doctor', '--json')).stdout));
    return checks.filter(({ id, verdict }) => verdict !== 'ok' && OF_SERVICE.includes(id));
  }

  /** Runs what doctor prints, as an operator would who pastes it, until it finds nothing more. */
  async function mend(): Promise<string[]> {
    const run: string[] = [];
    for (let round = 0; round < 3; round++) {
      const remedies = (await complaints()).flatMap(({ remedy }) => remedy ?? []);
      for (const remedy of remedies) await environment().machine.mustRun(['sh', '-c', remedy]);
      run.push(...remedies);
    }
    return run;
  }

  test('finds nothing wrong with the agent`s unit and with users who linger', async () => {
    expect(await complaints()).toEqual([]);
  });

  test('finds a user who does not linger, and what it prints mends it', async () => {
    const { users } = environment();
    await users.alice.linger(false);
    onTestFinished(() => users.alice.linger(true));
    expect(await complaints()).toContainEqual(expect.objectContaining({ id: 'linger', user: 'alice' }));
    // Her manager stops as well, in its time, and her Podman with it.
    expect(await mend()).toContain('loginctl enable-linger alice');
    expect(await complaints()).toEqual([]);
  });

  test('finds a Podman without its socket, and what it prints mends it', async () => {
    const { machine } = environment();
    await machine.mustRun(['systemctl', '--user', '--machine=bob@', 'disable', '--now', 'podman.socket']);
    expect(await complaints()).toContainEqual(expect.objectContaining({ id: 'podman_socket', user: 'bob' }));
    expect(await mend()).toContain('systemctl --user --machine=bob@ enable --now podman.socket');
    expect(await complaints()).toEqual([]);
  });

  test('finds a unit that has stopped, that is not enabled or that has changed, and what it prints mends it', async () => {
    const { machine, agent } = environment();
    await machine.mustRun(['sh', '-c', `echo '# changed' >>/etc/systemd/system/${UNIT}`]);
    expect(await mend()).toEqual(['systemctl daemon-reload']);
    await machine.mustRun(['systemctl', 'disable', UNIT]);
    expect(await mend()).toEqual([`systemctl enable ${UNIT}`]);
    await agent.systemctl('stop');
    expect(await mend()).toEqual([`systemctl enable --now ${UNIT}`]);
    await agent.waitUntilReady();
    expect(await complaints()).toEqual([]);
  });

  test('the unit gives no more than it has to', async () => {
    const { machine } = environment();
    const { stdout, code } = await machine.run(['systemd-analyze', 'security', '--no-pager', '--threshold=64', UNIT]);
    expect(code, stdout).toBe(0);
  });
});
