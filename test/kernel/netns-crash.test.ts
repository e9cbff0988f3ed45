import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Desired } from '../../src/model/desired.ts';
import type { MigrationPoint } from '../../src/resources/netns/migration.ts';
import { runCommand } from '../support/command.ts';
import { mountsBelow } from '../support/leftovers.ts';
import { wantedNetns } from '../support/netns-resource.ts';
import { ALICE, ID, NETNS_FILE, NetnsStage } from '../support/netns-stage.ts';
import { dumpNetwork, inNetns } from '../support/network-dump.ts';
import { rules } from '../support/network-leftovers.ts';
import { BRIDGE, bridgeConflist, ensureForwardingRules } from '../support/nomad/bridge.ts';
import { CniNetwork } from '../support/nomad/cni.ts';
import { CniCache } from '../support/nomad/cni-cache.ts';
import { PLUGIN_DIR } from '../support/nomad/group-network.ts';
import { requires } from '../support/requires.ts';
import { makeRichNetwork } from '../support/rich-network.ts';
import { until } from '../support/until.ts';

const MIGRATE = fileURLToPath(new URL('../support/migrate-netns.ts', import.meta.url));
/** Every point of a migration, in order. */
const POINTS = ['read', 'made', 'founded', 'pinned', 'recorded', 'moved', 'carried', 'attached', 'ended'] as const;
const SIGKILLED = -1;

requires('root', 'sandbox')('a migration of a network namespace that was killed', () => {
  let stage: NetnsStage;

  beforeEach(async () => {
    stage = await NetnsStage.set();
  });
  afterEach(() => stage.strike());

  /** Runs a migration in a process of its own, which ends by SIGKILL when it gets there. */
  async function killedAt(point: MigrationPoint, without?: 'without'): Promise<void> {
    const argv = [
      process.execPath,
      MIGRATE,
      stage.base,
      ID,
      String(ALICE),
      point,
      'SIGKILL',
      ...(without ? [without] : []),
    ];
    const { code, stderr } = await runCommand(argv, { cwd: '/' });
    expect({ code, stderr }).toEqual({ code: SIGKILLED, stderr: '' });
  }

  async function goOn(wanted: Desired = wantedNetns(ID, ALICE), beneath?: boolean): Promise<void> {
    const resource = stage.newResource({ pluginDirs: [PLUGIN_DIR], ...(beneath === undefined ? {} : { beneath }) });
    for (let round = 0; round < 3; round++) for (const step of await resource.plan(wanted)) await step.apply();
    expect(await resource.plan(wanted)).toEqual([]);
  }

  test.each(POINTS)('at the point "%s" is finished by the next start, and all is as it was', async (point) => {
    makeRichNetwork(ID);
    const before = dumpNetwork(ID);
    await killedAt(point);
    await goOn();
    expect(dumpNetwork(ID)).toEqual(before);
    expect(stage.owner()).toBe(ALICE);
    expect(stage.journal()).toEqual([]);
    stage.tearDown();
    await expectNothingLeft();
  });

  test.each(POINTS)('at the point "%s", twice, is finished where nothing can be mounted beneath', async (point) => {
    stage.makeBridged();
    const before = dumpNetwork(ID);
    await killedAt(point, 'without');
    await runCommand([process.execPath, MIGRATE, stage.base, ID, String(ALICE), point, 'SIGKILL', 'without'], {
      cwd: '/',
    });
    await goOn(wantedNetns(ID, ALICE), false);
    expect(dumpNetwork(ID)).toEqual(before);
    expect(stage.journal()).toEqual([]);
    stage.tearDown();
    await expectNothingLeft();
  });

  describe.each([
    ['Nomad knows no more of the allocation', { kind: 'nothing', id: ID, why: 'gone' }],
    ['the allocation has finished', { kind: 'nothing', id: ID, why: 'finished' }],
  ] as const)('while %s', (_, wanted) => {
    test.each(POINTS)('at the point "%s", and which Nomad has torn down, leaves nothing', async (point) => {
      stage.makeBridged();
      await killedAt(point);
      unmountAsNomad();
      stage.removeAllocationDirectory();
      await goOn(wanted);
      await expectNothingLeft();
    });
  });

  test.each(POINTS)(
    'at the point "%s" is left so that Nomad can tear it down, where the allocation has finished',
    async (point) => {
      stage.makeBridged();
      await killedAt(point);
      await goOn({ kind: 'nothing', id: ID, why: 'finished' });
      stage.tearDown();
      await expectNothingLeft();
    },
  );

  test.each(['recorded', 'moved', 'attached'] as const)(
    'at the point "%s" gives way to the network that Nomad has made anew since',
    async (point) => {
      stage.makeBridged();
      await killedAt(point);
      execFileSync('sh', ['-c', `while umount ${NETNS_FILE} 2>/dev/null; do :; done; rm ${NETNS_FILE}`]);
      execFileSync('sh', ['-c', 'ip link delete veth-a 2>/dev/null || true']);
      stage.makeBridged();
      inNetns(ID, 'ip', 'address', 'add', '10.9.0.44/16', 'dev', 'eth0');
      const before = dumpNetwork(ID);
      const resource = stage.newResource();
      await until('it is settled', async () => {
        const steps = await resource.plan(wantedNetns(ID, ALICE));
        for (const step of steps) await step.apply();
        return steps.length === 0;
      });
      expect(dumpNetwork(ID)).toEqual(before);
      expect(stage.journal()).toEqual([]);
    },
  );

  test.each(['recorded', 'moved', 'carried', 'attached'] as const)(
    'at the point "%s", and which Nomad has CNI plugins take down meanwhile, leaves no packet filter of theirs',
    async (point) => {
      const network = await attachToCniNetwork();
      await killedAt(point);
      await network.del();
      unmountAsNomad();
      await goOn({ kind: 'nothing', id: ID, why: 'finished' });
      await network.expectNothingLeft();
    },
  );

  test.each(['recorded', 'moved', 'carried', 'attached'] as const)(
    'and that goes on after the point "%s" at which Nomad has CNI plugins take it down leaves no packet filter of theirs',
    async (point) => {
      const network = await attachToCniNetwork();
      const migration = spawn(process.execPath, [MIGRATE, stage.base, ID, String(ALICE), point, 'SIGSTOP'], {
        cwd: '/',
      });
      const ended = once(migration, 'exit');
      await until('it has stopped', () => /^State:\s*T/m.test(readFileSync(`/proc/${migration.pid}/status`, 'utf8')));
      await network.del();
      migration.kill('SIGCONT');
      await ended;
      unmountAsNomad();
      await goOn({ kind: 'nothing', id: ID, why: 'finished' });
      await network.expectNothingLeft();
    },
  );

  test('that had ended is left to Nomad by "cleanup", which takes the allocation to be over', async () => {
    const network = await attachToCniNetwork();
    await killedAt('ended');
    const before = dumpNetwork(ID);
    await goOn({ kind: 'nothing', id: ID, why: 'gone' });
    expect(dumpNetwork(ID)).toEqual(before);
    await network.del();
    stage.tearDown();
    await network.expectNothingLeft();
  });

  test('is told of where somebody has taken away what held its links', async () => {
    stage.makeBridged();
    await killedAt('moved');
    execFileSync('umount', [`${stage.base}/state/netns/${ID}`]);
    const [step] = await stage.newResource().plan(wantedNetns(ID, ALICE));
    await expect(Promise.resolve(step?.apply())).rejects.toMatchObject({ code: 'network_lost', retryable: false });
  });

  /** The file cannot be removed where a crash has left a second mount on it. */
  function unmountAsNomad(): void {
    execFileSync('sh', ['-c', `umount --lazy ${NETNS_FILE}; rm -f ${NETNS_FILE}; true`], { stdio: 'pipe' });
  }

  /** Has the CNI plugins of Nomad's mode `bridge` make the allocation's network, as libcni remembers it. */
  async function attachToCniNetwork() {
    const leasesDir = join(stage.base, 'leases');
    const bridge = { subnet: '10.23.0.0/24', subnetIpv6: 'fd00:23::/64', leasesDir };
    const cache = new CniCache(join(stage.base, 'cni'));
    const network = new CniNetwork(bridgeConflist(bridge), PLUGIN_DIR, cache);
    const attachment = { containerId: ID, netns: NETNS_FILE, portMappings: [], args: {} };
    await ensureForwardingRules(bridge);
    await network.add(attachment);
    return {
      del: () => network.del(attachment),
      expectNothingLeft: async () => {
        expect([...(await rules('iptables-save')), ...(await rules('ip6tables-save'))]).toEqual([]);
        expect(readdirSync(join(leasesDir, BRIDGE)).filter((name) => isIP(name) !== 0)).toEqual([]);
        expect(stage.journal()).toEqual([]);
        execFileSync('ip', ['link', 'delete', BRIDGE]);
      },
    };
  }

  /** No mount, no file, no link, and so no namespace: what held eth0 is gone, and with it the other end on the host. */
  async function expectNothingLeft(): Promise<void> {
    expect(existsSync(NETNS_FILE)).toBe(false);
    expect(stage.journal()).toEqual([]);
    expect([...mountsBelow(NETNS_FILE), ...mountsBelow(`${stage.base}/state`)]).toEqual([]);
    const hasLink = () => execFileSync('ip', ['-brief', 'link'], { encoding: 'utf8' }).includes('veth-a');
    await until('the other end is gone', () => !hasLink());
  }
});
