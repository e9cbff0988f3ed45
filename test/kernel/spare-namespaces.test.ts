import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Handle } from '../../src/linux/handle.ts';
import { noteLeft } from '../../src/linux/left-child.ts';
import { inNetworkNamespace } from '../../src/linux/net/network-namespace.ts';
import { openOwnNamespace, owningUserNamespace, ProcessHandle } from '../../src/linux/process.ts';
import { isSameFile, stat } from '../../src/linux/stat.ts';
import { SpareNamespaces } from '../../src/resources/netns/spare-namespaces.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { wantedNetns } from '../support/netns-resource.ts';
import { ALICE, ID, NetnsStage } from '../support/netns-stage.ts';
import { dumpNetwork } from '../support/network-dump.ts';
import { requires } from '../support/requires.ts';
import { until } from '../support/until.ts';

const OWNER = { name: 'alice', uid: ALICE, gid: ALICE, socket: '' };

requires('root', 'sandbox')('the spare network namespaces of a user', () => {
  let stage: NetnsStage;
  let clock: ManualClock;
  let spares: SpareNamespaces;
  let user: Handle;

  beforeEach(async () => {
    stage = await NetnsStage.set();
    // Opens our own, for good: it is not to be counted.
    using own = openOwnNamespace('net');
    inNetworkNamespace(own, () => undefined);
    clock = new ManualClock();
    spares = new SpareNamespaces(clock);
    user = userNamespaceOf(stage.alice.pid);
  });
  afterEach(async () => {
    spares.close();
    user.close();
    await stage.strike();
  });

  /** Until both are there. */
  async function filled(): Promise<void> {
    spares.keep(OWNER, user, 0);
    const before = namespacesHeld();
    clock.advance(1000);
    await until('both are there', () => namespacesHeld() === before + 2 && childrenOfOurs().length === 0);
  }

  test('are made in the background, owned by the user namespace, and are given without a process', async () => {
    await filled();
    const taking = spares.take(OWNER, user);
    expect(childrenOfOurs()).toEqual([]);
    using netns = (await taking).netns;
    using owner = owningUserNamespace(netns);
    expect(isSameFile(stat(owner), stat(user))).toBe(true);
  });

  test('are not made beside a child of ours that runs as her and does not end', async () => {
    const left = spawn('sleep', ['60'], { stdio: 'ignore' });
    noteLeft(ALICE, left);
    await expect(spares.take(OWNER, user)).rejects.toMatchObject({ code: 'user_child_left' });
    left.kill();
    await once(left, 'exit');
    (await spares.take(OWNER, user)).netns.close();
  });

  test('are two at most, and made anew when one has been taken', async () => {
    await filled();
    spares.keep(OWNER, user, 0);
    clock.advance(1000);
    expect(childrenOfOurs()).toEqual([]);
    (await spares.take(OWNER, user)).netns.close();
    const before = namespacesHeld();
    spares.keep(OWNER, user, 0);
    clock.advance(1000);
    await until('it is there again', () => namespacesHeld() === before + 1);
  });

  test('are as many as are expected to be taken, and two again afterwards', async () => {
    const before = namespacesHeld();
    spares.keep(OWNER, user, 5);
    clock.advance(1000);
    await until('all are there', () => namespacesHeld() === before + 5 && childrenOfOurs().length === 0);
    // The last may be counted before it is one of the spares: it goes with the next call.
    await until('those too many are gone', () => {
      spares.keep(OWNER, user, 0);
      return namespacesHeld() === before + 2;
    });
  });

  test('that were expected to be taken are not made once they have been taken', async () => {
    const before = namespacesHeld();
    spares.keep(OWNER, user, 5);
    const taken = await Promise.all([1, 2, 3].map(() => spares.take(OWNER, user)));
    for (const { netns } of taken) netns.close();
    clock.advance(1000);
    await until('two are there', () => namespacesHeld() === before + 2);
    await until('no more are made', () => childrenOfOurs().length === 0);
    expect(namespacesHeld()).toBe(before + 2);
  });

  test('are given once each, and one is made for who finds none', async () => {
    await filled();
    const taken = await Promise.all([1, 2, 3].map(() => spares.take(OWNER, user)));
    expect(new Set(taken.map(({ netns }) => stat(netns).ino)).size).toBe(3);
    for (const { netns } of taken) netns.close();
  });

  test('are not those of the Podman before, once it has moved to another user namespace', async () => {
    await filled();
    const before = namespacesHeld();
    await stage.restartPodman();
    using moved = userNamespaceOf(stage.alice.pid);
    using netns = (await spares.take(OWNER, moved)).netns;
    using owner = owningUserNamespace(netns);
    expect(isSameFile(stat(owner), stat(moved))).toBe(true);
    await until('the former ones are let go', () => namespacesHeld() === before - 2 + 1);
  });

  test('are let go by a sweep when the Podman has ended, and not before', async () => {
    await filled();
    expect(await spares.planSweep()).toEqual([]);
    const before = namespacesHeld();
    await stage.alice.stop();
    for (const step of await spares.planSweep()) await step.apply();
    expect(namespacesHeld()).toBe(before - 2);
    expect(await spares.planSweep()).toEqual([]);
    stage.alice = await stage.startPodman(ALICE);
  });

  test('that the user has prepared cost her nothing but that allocation one attempt', async () => {
    stage.makeBridged();
    const before = dumpNetwork(ID);
    // As if she had opened it while the process that made it was hers.
    let isPrepared = false;
    const original = spares.take.bind(spares);
    spares.take = async (owner, userNamespace) => {
      const made = await original(owner, userNamespace);
      if (!isPrepared) {
        execFileSync('nsenter', [`--net=/proc/${process.pid}/fd/${made.netns.fd}`, 'sh', '-c', PREPARE]);
      }
      isPrepared = true;
      return made;
    };
    const resource = stage.newResource({ spares });
    const wanted = wantedNetns(ID, ALICE);
    const [first] = await resource.plan(wanted);
    await expect(Promise.resolve(first?.apply())).rejects.toMatchObject({ code: 'network_replaced', retryable: true });
    expect(dumpNetwork(ID)).toEqual(before);
    expect(stage.journal()).toEqual([]);
    for (const step of await resource.plan(wanted)) await step.apply();
    expect(dumpNetwork(ID)).toEqual(before);
    expect(stage.owner()).toBe(ALICE);
  });
});

const PREPARE = 'ip link add eth0 type veth peer name other; ip link set lo up';

function userNamespaceOf(pid: number): Handle {
  using process = ProcessHandle.open(pid);
  if (!process) throw new Error(`no process ${pid}`);
  return process.openNamespace('user');
}

/** How many open files of ours are network namespaces. */
function namespacesHeld(): number {
  const links = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return ''; // that of the listing itself
    }
  });
  return links.filter((link) => link.startsWith('net:[')).length;
}

/** The programs that children of ours run, of those that make a network namespace. */
function childrenOfOurs(): string[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((pid) => {
      try {
        const [, name = '', parent] = /^\d+ \((.*)\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? [];
        return Number(parent) === process.pid && /setpriv|nsenter|unshare|grep/.test(name) ? [name] : [];
      } catch {
        return []; // it has ended
      }
    });
}
