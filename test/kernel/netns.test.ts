import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import type { Desired } from '../../src/model/desired.ts';
import type { NetnsResource } from '../../src/resources/netns/netns.ts';
import { SpareNamespaces } from '../../src/resources/netns/spare-namespaces.ts';
import { accessOf } from '../support/access-of.ts';
import { mountsOfThisNamespaceBelow } from '../support/leftovers.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { wantedNetns } from '../support/netns-resource.ts';
import { ALICE, BOB, ID, NETNS_FILE, NetnsStage } from '../support/netns-stage.ts';
import { dumpNetwork, inNetns } from '../support/network-dump.ts';
import { requires } from '../support/requires.ts';
import { makeRichNetwork } from '../support/rich-network.ts';
import { until } from '../support/until.ts';

requires('root', 'sandbox')('the network namespace of an allocation', () => {
  let stage: NetnsStage;
  let resource: NetnsResource;

  beforeEach(async () => {
    stage = await NetnsStage.set();
    resource = stage.newResource();
  });
  afterEach(() => stage.strike());

  async function settle(wanted: Desired = wantedNetns(ID, ALICE)): Promise<void> {
    for (let round = 0; round < 3; round++) for (const step of await resource.plan(wanted)) await step.apply();
    expect(await resource.plan(wanted)).toEqual([]);
    expect(stage.journal()).toEqual([]);
  }

  test('comes out with links, addresses, routes, rules, neighbours, packet filters and parameters as they were', async () => {
    makeRichNetwork(ID);
    const before = dumpNetwork(ID);
    await settle();
    expect(dumpNetwork(ID)).toEqual(before);
    expect(stage.owner()).toBe(ALICE);
  });

  test('that is bare comes out bare', async () => {
    const before = dumpNetwork(ID);
    await settle();
    expect(dumpNetwork(ID)).toEqual(before);
    expect(before.links).toMatchObject([{ ifname: 'lo', operstate: 'DOWN' }]);
  });

  test('is reached from the host as before, and reaches out', async () => {
    stage.makeBridged();
    await settle();
    execFileSync('busybox', ['ping', '-c1', '-W5', '10.9.0.7']);
    execFileSync('busybox', ['ping', '-c1', '-W5', 'fd00:9::7']);
    inNetns(ID, 'busybox', 'ping', '-c1', '-W5', '10.9.0.1');
  });

  test('can be joined by the user it belongs to, who could not before, and by nobody else', async () => {
    const join = `nsenter --net=${NETNS_FILE} true`;
    expect((await stage.alice.run(join)).output).toMatch(/Operation not permitted/);
    await settle();
    expect(await stage.alice.run(`nsenter --net=${NETNS_FILE} ip link set lo up`)).toEqual({ code: 0, output: '' });
    const bob = await stage.startPodman(BOB);
    expect((await bob.run(join)).output).toMatch(/Operation not permitted/);
    await bob.stop();
  });

  /** Also where mounts propagate to. */
  async function expectToBeOnlyMount(): Promise<void> {
    stage.makeBridged();
    await settle();
    // Once more below /run/netns itself, where nobody sees it: that directory is mounted on itself.
    const seen = (lines: string) => new Set(lines.match(/net:\[\d+\]/g));
    const here = mountsOfThisNamespaceBelow(NETNS_FILE).map(({ root }) => root);
    expect(seen(here.join()).size).toBe(1);
    const { output } = await stage.alice.run(`grep ' ${NETNS_FILE} ' /proc/self/mountinfo`);
    expect(seen(output)).toEqual(seen(here.join()));
    execFileSync('umount', [NETNS_FILE]);
    expect(mountsOfThisNamespaceBelow(NETNS_FILE)).toEqual([]);
  }

  requires('mount-beneath')('where the kernel can mount beneath', () => {
    test('is the only mount at its path', async () => {
      resource = stage.newResource({ beneath: true });
      await expectToBeOnlyMount();
    });

    test('is at its path all the time', async () => {
      stage.makeBridged();
      const looker = new PathLooker(NETNS_FILE);
      await looker.started();
      await settle();
      expect(await looker.stop()).toBe(0);
    });
  });

  describe('that was migrated', () => {
    const NOTHING = { kind: 'nothing', id: ID, why: 'finished' } as const;
    let clock: ManualClock;

    beforeEach(async () => {
      clock = new ManualClock();
      // The kernel takes the time that it takes.
      const after = (ms: number, action: () => void) => clock.after(ms, action);
      resource = stage.newResource({ clock: { sleep: systemClock.sleep, after } });
      stage.makeBridged();
      for (const step of await resource.plan(wantedNetns(ID, ALICE))) await step.apply();
    });

    test('is remembered for ten seconds, in which there is nothing to do about it', async () => {
      expect(stage.journal()).toEqual([ID, `${ID}.ended`]);
      clock.advance(9999);
      expect(await resource.plan(wantedNetns(ID, ALICE))).toEqual([]);
      expect(await resource.plan(NOTHING)).toEqual([]);
      clock.advance(1);
      expect(stage.journal()).toEqual([]);
    });

    test('is remembered no longer than the agent runs', () => {
      resource.close();
      expect(stage.journal()).toEqual([]);
      expect(clock.waiting).toBe(0);
    });

    test('is let go of by the first pass of the next agent, where this one was killed', async () => {
      resource = stage.newResource();
      await settle();
      expect(stage.owner()).toBe(ALICE);
    });

    test('is not begun again, nor are its links brought up, where Nomad has taken it away without them', async () => {
      stage.tearDown();
      const [step] = await resource.plan(wantedNetns(ID, ALICE));
      await expect(Promise.resolve(step?.apply())).rejects.toMatchObject({ code: 'netns_gone', retryable: true });
      expect(resource.isLeft(ID)).toBe(true);
      await settle(NOTHING);
    });

    test('is let go of by the pass after Nomad has taken it away', async () => {
      stage.tearDown();
      await settle(NOTHING);
      expect(clock.waiting).toBe(0);
    });

    test('is remembered as it is after the last of two migrations, where the Podman has moved between them', async () => {
      await stage.restartPodman();
      await expect.poll(() => resource.plan(wantedNetns(ID, ALICE))).toHaveLength(1);
      for (const step of await resource.plan(wantedNetns(ID, ALICE))) await step.apply();
      expect(await resource.plan(wantedNetns(ID, ALICE))).toEqual([]);
      expect(clock.waiting).toBe(1);
      clock.advance(10_000);
      expect(stage.journal()).toEqual([]);
      expect(mountsOfThisNamespaceBelow(stage.base)).toEqual([]);
    });

    test('is remembered until a pass, where Nomad has taken it away', async () => {
      stage.tearDown();
      clock.advance(10_000);
      expect(resource.allocationIds()).toEqual([ID]);
      await settle(NOTHING);
    });

    test('is let go of without a link of the new one being moved, where the user had one of her own in it', async () => {
      inNetns(ID, 'ip', 'link', 'add', 'own-a', 'type', 'veth', 'peer', 'name', 'own-b');
      execFileSync('ip', ['link', 'delete', 'veth-a']);
      stage.tearDown();
      stage.makeBridged();
      const before = dumpNetwork(ID);
      const [step] = await resource.plan(wantedNetns(ID, ALICE));
      await step?.apply();
      expect(stage.journal()).toEqual([]);
      expect(dumpNetwork(ID)).toEqual(before);
    });

    test('is let go of where Nomad has made it anew, and the allocation is over for us', async () => {
      stage.tearDown();
      execFileSync('ip', ['link', 'delete', 'veth-a']);
      stage.makeBridged();
      inNetns(ID, 'ip', 'link', 'add', 'own-a', 'type', 'veth', 'peer', 'name', 'own-b');
      const before = dumpNetwork(ID);
      await settle(NOTHING);
      expect(dumpNetwork(ID)).toEqual(before);
    });

    test('ends no agent that cannot look at it any more', async () => {
      const prlimit = ['prlimit', `--pid=${process.pid}`];
      const limit = execFileSync('sh', ['-c', 'ulimit -Sn'], { encoding: 'utf8' }).trim();
      // Started before: without descriptors nothing is.
      const restoring = spawn('sh', ['-c', `read line; exec ${prlimit.join(' ')} --nofile=${limit}:`]);
      execFileSync(prlimit[0] ?? '', [...prlimit.slice(1), '--nofile=3:']);
      try {
        expect(() => readdirSync('/')).toThrow(/EMFILE/);
        expect(() => clock.advance(10_000)).not.toThrow();
      } finally {
        restoring.stdin.end('\n');
        await once(restoring, 'exit');
      }
      expect(stage.journal()).toEqual([ID, `${ID}.ended`]);
      await settle();
    });

    test('is remembered for ten seconds from the last migration where Nomad has made it anew', async () => {
      stage.tearDown();
      clock.advance(5000);
      execFileSync('ip', ['link', 'delete', 'veth-a']);
      stage.makeBridged();
      await until('it is migrated again', async () => {
        const steps = await resource.plan(wantedNetns(ID, ALICE));
        for (const step of steps) await step.apply();
        return steps.length === 0;
      });
      expect(stage.owner()).toBe(ALICE);
      clock.advance(9999);
      expect(stage.journal()).toEqual([ID, `${ID}.ended`]);
      clock.advance(1);
      expect(stage.journal()).toEqual([]);
    });
  });

  test('is the only mount at its path where the kernel cannot mount beneath', async () => {
    resource = stage.newResource({ beneath: false });
    await expectToBeOnlyMount();
  });

  test('leaves no process of ours in it', async () => {
    stage.makeBridged();
    await settle();
    expect(execFileSync('ip', ['netns', 'pids', ID], { encoding: 'utf8' })).toBe('');
  });

  test('is left alone until a container waits for it', async () => {
    expect(await resource.plan(wantedNetns(ID, ALICE, false))).toEqual([]);
    expect(resource.isOwned(ID)).toBe(false);
    await settle();
    expect(resource.isOwned(ID)).toBe(true);
  });

  test('is left alone, without gates, until Nomad has set up a task', async () => {
    resource = stage.newResource({ ordering: 'watch' });
    const wanted = wantedNetns(ID, ALICE, false);
    await expect(resource.plan(wanted)).rejects.toMatchObject({ code: 'network_not_up', retryable: true });
    const secrets = join(stage.base, 'alloc', ID, 't/secrets');
    mkdirSync(secrets, { recursive: true });
    await expect(resource.plan(wanted)).rejects.toMatchObject({ code: 'network_not_up' });
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', secrets]);
    await settle(wanted);
    execFileSync('umount', [secrets]);
    expect(stage.owner()).toBe(ALICE);
  });

  /** What Nomad does to set a task up. @returns what takes it away */
  function setUpTask(): () => void {
    const secrets = join(stage.base, 'alloc', ID, 't/secrets');
    mkdirSync(secrets, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', secrets]);
    return () => execFileSync('umount', [secrets]);
  }

  requires('mount-order')('with gates', () => {
    test("is the user's already when the driver begins, once Nomad has set up a task", async () => {
      const wanted = wantedNetns(ID, ALICE, false);
      expect(await resource.plan(wanted)).toEqual([]);
      mkdirSync(join(stage.base, 'alloc', ID, 't'));
      await expect(resource.plan(wanted)).rejects.toMatchObject({ code: 'network_not_up', retryable: true });
      const takeAway = setUpTask();
      await settle(wanted);
      takeAway();
      expect(stage.owner()).toBe(ALICE);
    });

    test('is left alone where the task was set up before the network was made: Nomad makes it anew', async () => {
      const takeAway = setUpTask();
      stage.tearDown();
      stage.make();
      expect(await resource.plan(wantedNetns(ID, ALICE, false))).toEqual([]);
      expect(await resource.plan(wantedNetns(ID, ALICE))).toHaveLength(1);
      takeAway();
    });

    test('is left alone while a task may yet say that it has a network of its own', async () => {
      const takeAway = setUpTask();
      const netns = { mode: 'bridge', isAwaited: false, isJoined: false };
      expect(await resource.plan(accessOf(ID, [{ name: 'alice', uid: ALICE, tasks: ['t'] }], { netns }))).toEqual([]);
      takeAway();
    });
  });

  test('is expected to take a spare one until it takes it', async () => {
    const expected: number[] = [];
    const spares = new SpareNamespaces(systemClock);
    spares.keep = (_owner, _user, most) => void expected.push(most);
    const other = wantedNetns('99999999-2222-3333-4444-555555555555', ALICE, false);
    let meanwhile: Promise<unknown> = Promise.resolve();
    const reached = (_id: string, point: string) => {
      if (point === 'made') meanwhile = resource.plan(other);
    };
    resource = stage.newResource({ spares, reached });
    await resource.plan(wantedNetns(ID, ALICE, false));
    for (const step of await resource.plan(wantedNetns(ID, ALICE))) await step.apply();
    await meanwhile;
    await resource.plan({ kind: 'nothing', id: other.id, why: 'gone' });
    await resource.plan(wantedNetns(ID, ALICE));
    expect(expected).toEqual([1, 1, 1, 0]);
    spares.close();
  });

  test('is expected to take a spare one while many are looked at at once', async () => {
    const expected: number[] = [];
    const spares = new SpareNamespaces(systemClock);
    spares.keep = (_owner, _user, most) => void expected.push(most);
    resource = stage.newResource({ spares });
    const ids = [1, 2, 3].map((at) => `${at}9999999-2222-3333-4444-555555555555`);
    const lookAtAll = () => Promise.all(ids.map((id) => resource.plan(wantedNetns(id, ALICE, false))));
    await lookAtAll();
    expected.length = 0;
    await lookAtAll();
    expect(expected).toEqual([3, 3, 3]);
    spares.close();
  });

  test('that is not there is waited for while a container waits for it', async () => {
    stage.tearDown();
    const planned = resource.plan(wantedNetns(ID, ALICE));
    await expect(planned).rejects.toMatchObject({ code: 'network_not_up', message: /is not there/ });
    expect(await resource.plan(wantedNetns(ID, ALICE, false))).toEqual([]);
  });

  test('is replaced again when the Podman of the user has moved to another user namespace', async () => {
    makeRichNetwork(ID);
    await settle();
    const before = dumpNetwork(ID);
    await stage.restartPodman();
    expect((await stage.alice.run(`nsenter --net=${NETNS_FILE} true`)).code).not.toBe(0);
    await settle();
    expect(dumpNetwork(ID)).toEqual(before);
    expect((await stage.alice.run(`nsenter --net=${NETNS_FILE} true`)).code).toBe(0);
  });

  test('is left alone, and told of, when the Podman has moved and something still runs in it', async () => {
    stage.makeBridged();
    await settle();
    const inside = spawn('nsenter', [`--net=${NETNS_FILE}`, 'sleep', '100']);
    await until('it runs inside', () => execFileSync('ip', ['netns', 'pids', ID], { encoding: 'utf8' }) !== '');
    await stage.restartPodman();
    const planned = resource.plan(wantedNetns(ID, ALICE));
    await expect(planned).rejects.toMatchObject({
      code: 'netns_in_use',
      message: new RegExp(`${inside.pid} still runs`),
    });
    inside.kill();
    await once(inside, 'exit');
    await settle();
  });

  test("that belongs to another user's Podman is refused", async () => {
    const bob = await stage.startPodman(BOB);
    const ofBob = stage.newResource({}, BOB);
    for (const step of await ofBob.plan(wantedNetns(ID, BOB))) await step.apply();
    await expect(resource.plan(wantedNetns(ID, ALICE))).rejects.toMatchObject({
      code: 'foreign_netns',
      retryable: false,
    });
    await bob.stop();
  });

  test('that the Podman of the user does not see is told of, with the remedy', async () => {
    await stage.alice.stop();
    stage.alice = await stage.startPodman(ALICE, 'private');
    stage.tearDown();
    stage.make();
    for (const step of await resource.plan(wantedNetns(ID, ALICE))) await step.apply();
    const planned = resource.plan(wantedNetns(ID, ALICE));
    await expect(planned).rejects.toMatchObject({ code: 'netns_hidden', message: /mount --make-rshared/ });
  });

  test.each([
    ['a bridge', 'ip link add br9 type bridge', /br9 is of kind bridge, which cannot be moved/],
    ['a queueing discipline', 'tc qdisc add dev eth0 root tbf rate 1mbit burst 10k latency 1ms', /eth0 has a queueing/],
    ['nexthop objects', 'ip nexthop add id 7 via 10.9.0.1 dev eth0', /nexthop objects/],
    ['address labels', 'ip addrlabel add prefix fd00:77::/64 label 77', /address labels/],
    ['IPsec', 'ip xfrm policy add src 10.1.0.0/16 dst 10.2.0.0/16 dir out', /IPsec/],
    ['an IPv6 token', 'ip token set ::77 dev eth0', /eth0 has an IPv6 token/],
    ['a packet filter of a device', NETDEV, /nftables chain f\/in: it is bound to a device/],
    ['arptables', `python3 -c '${ARPTABLES}'`, /arptables table \(filter\)/],
    ['a range of users', 'iptables-nft -A OUTPUT -m owner --uid-owner 5-9 -j DROP', /nftables rule filter\/OUTPUT/],
    ["a parameter of root's", 'echo 7 >/proc/sys/net/ipv6/route/gc_elasticity', /net.ipv6.route.gc_elasticity = 7/],
  ])('with %s is refused, and stays as it was', async (_, script, message) => {
    stage.makeBridged();
    inNetns(ID, 'sh', '-ec', script);
    const before = dumpNetwork(ID);
    const [step] = await resource.plan(wantedNetns(ID, ALICE));
    const refusal = { code: 'network_not_carriable', message, retryable: false };
    await expect(Promise.resolve(step?.apply())).rejects.toMatchObject(refusal);
    expect(dumpNetwork(ID)).toEqual(before);
    expect(stage.owner()).toBe(0);
    expect(stage.journal()).toEqual([]);
  });

  test('many of them at once come out as they were', async () => {
    const ids = Array.from({ length: 8 }, (_, n) => `11111111-2222-3333-4444-5555555556${String(n).padStart(2, '0')}`);
    for (const [n, id] of ids.entries()) stage.makeBridged(id, n + 20);
    const before = ids.map(dumpNetwork);
    await Promise.all(
      ids.map(async (id) => {
        for (const step of await resource.plan(wantedNetns(id, ALICE))) await step.apply();
      }),
    );
    expect(ids.map(dumpNetwork)).toEqual(before);
    for (const id of ids) execFileSync('ip', ['netns', 'delete', id]);
  });
});

const NETDEV =
  'nft add table netdev f; nft add chain netdev f in "{ type filter hook ingress device eth0 priority 0; }"';

/** ARPT_SO_GET_INFO, include/uapi/linux/netfilter_arp/arp_tables.h: who asks for a table gets it made. */
const ARPTABLES = `
import ctypes, socket
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
info = ctypes.create_string_buffer(b"filter", 68)
assert ctypes.CDLL(None).getsockopt(s.fileno(), 0, 96, info, ctypes.byref(ctypes.c_int(68))) == 0`;

/** A process that opens a path over and over, and counts how often that was no network namespace. */
class PathLooker {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(path: string) {
    this.#child = spawn('python3', ['-c', LOOK, path], { stdio: ['pipe', 'pipe', 'inherit'] });
    if (!this.#child.stdout) throw new Error('no output');
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** Waits until it has looked once. */
  async started(): Promise<void> {
    expect((await this.#lines.next()).value).toBe('looked');
  }

  /** Has it look a last time. @returns how often there was none */
  async stop(): Promise<number> {
    this.#child.stdin?.end();
    return Number((await this.#lines.next()).value);
  }
}

const LOOK = `
import fcntl, os, select, sys
looks = failures = 0
stopping = False
while not stopping:
    stopping = bool(select.select([sys.stdin], [], [], 0)[0])
    looks += 1
    try:
        f = os.open(sys.argv[1], os.O_RDONLY)
        failures += fcntl.ioctl(f, 0xb703) != 0x40000000
        os.close(f)
    except OSError:
        failures += 1
    if looks == 1: print('looked', flush=True)
print(failures, flush=True)
`;
