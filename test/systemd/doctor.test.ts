import { expect, test } from 'vitest';
import * as z from 'zod';
import { UNIT } from '../support/systemd/installed-agent.ts';
import { until } from '../support/until.ts';
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
const FILE = `/etc/systemd/system/${UNIT}`;
const DROP_INS = `${FILE}.d`;
const DROP_IN = `${DROP_INS}/changed.conf`;

onMachine('doctor, beside a real systemd', (environment) => {
  async function complaints() {
    const { checks } = Report.parse(JSON.parse((await environment().agent.command('doctor', '--json')).stdout));
    return checks.filter(({ id, verdict }) => verdict !== 'ok' && OF_SERVICE.includes(id));
  }

  const run = (...argv: string[]) => environment().machine.mustRun(argv);
  const ofBob = (...args: string[]) => run('systemctl', '--user', '--machine=bob@', ...args);
  const addDropIn = async (text: string) => {
    await run('mkdir', '-p', DROP_INS);
    await environment().machine.writeFile(DROP_IN, text, '0644');
    await run('systemctl', 'daemon-reload');
  };
  const dropDropIn = async () => {
    await run('rm', '-rf', DROP_INS);
    await run('systemctl', 'daemon-reload');
  };

  test('finds nothing wrong with the agent`s unit and with users who linger', async () => {
    expect(await complaints()).toEqual([]);
  });

  /** One thing that is wrong, and the check of it; its command mends it, or `edits`, as its words say; `after` is how it was before. */
  interface Fault {
    readonly check: string;
    readonly breaks: () => Promise<unknown>;
    readonly remedy?: string;
    readonly edits?: () => Promise<unknown>;
    readonly after?: () => Promise<unknown>;
  }
  const FAULTS: Readonly<Record<string, Fault>> = {
    'a user who does not linger': {
      check: 'linger',
      breaks: () => environment().users.bob.linger(false),
      remedy: 'loginctl enable-linger bob',
    },
    'a user whose manager has stopped': {
      check: 'user_manager',
      breaks: async () => run('systemctl', 'stop', `user@${await environment().users.bob.uid()}.service`),
      remedy: 'systemctl start user@UID.service',
    },
    'a Podman without its socket': {
      check: 'podman_socket',
      breaks: () => ofBob('disable', '--now', 'podman.socket'),
      remedy: 'systemctl --user --machine=bob@ enable --now podman.socket',
    },
    'a unit whose file has changed': {
      check: 'unit',
      breaks: () => run('sh', '-c', `echo '# changed' >>${FILE}`),
      remedy: 'systemctl daemon-reload',
    },
    'a unit without a descriptor store': {
      check: 'unit',
      breaks: () => addDropIn('[Service]\nFileDescriptorStoreMax=0\n'),
      edits: dropDropIn,
    },
    'a unit that is not enabled': {
      check: 'boot',
      breaks: () => run('systemctl', 'disable', UNIT),
      remedy: `systemctl enable ${UNIT}`,
    },
    'a unit that is not ordered before Nomad': {
      check: 'boot',
      breaks: async () => {
        await run('sed', '-i.whole', '/^Before=/d', FILE);
        await run('systemctl', 'daemon-reload');
      },
      edits: () => addDropIn('[Unit]\nBefore=nomad.service\n'),
      after: async () => {
        await run('mv', `${FILE}.whole`, FILE);
        await dropDropIn();
      },
    },
    'an agent that has stopped': {
      check: 'agent',
      breaks: () => environment().agent.systemctl('stop'),
      remedy: `systemctl enable --now ${UNIT}`,
    },
    'another deployment beside the unit': {
      check: 'one_deployment',
      breaks: async () => {
        await environment().agent.systemctl('stop');
        await run('systemctl', 'clean', '--what=fdstore', UNIT); // the agent's lock is kept there
        await run('systemd-run', '--unit=of-nomad', 'nomad-rootless', 'agent');
        await environment().agent.waitUntilReady();
      },
      remedy: `systemctl disable --now ${UNIT}`,
      after: async () => {
        await run('systemctl', 'stop', 'of-nomad.service');
        await run('systemctl', 'enable', '--now', UNIT);
        await environment().agent.waitUntilReady();
      },
    },
  };

  test.each(Object.entries(FAULTS))('finds %s, and what it says mends it', async (_, fault) => {
    const uid = await environment().users.bob.uid();
    await fault.breaks();
    const wrong = await until(`doctor finds ${fault.check}`, async () =>
      (await complaints()).find(({ id, user = 'bob' }) => id === fault.check && user === 'bob'),
    );
    expect(wrong.remedy?.replace(String(uid), 'UID')).toBe(fault.remedy);
    if (fault.edits) await fault.edits();
    else await run(...z.string().parse(wrong.remedy).split(' '));
    await expect.poll(complaints, { timeout: 60_000, interval: 1000 }).toEqual([]);
    await fault.after?.();
    await expect.poll(complaints, { timeout: 60_000, interval: 1000 }).toEqual([]);
  });

  test('the unit gives no more than it has to', async () => {
    const { machine } = environment();
    const { stdout, code } = await machine.run(['systemd-analyze', 'security', '--no-pager', '--threshold=64', UNIT]);
    expect(code, stdout).toBe(0);
  });
});
