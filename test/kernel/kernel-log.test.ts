import { randomBytes } from 'node:crypto';
import { readdirSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Handle } from '../../src/linux/handle.ts';
import { makeNetworkNamespace } from '../../src/linux/net/make-network-namespace.ts';
import { readSysctls } from '../../src/linux/net/sysctl.ts';
import { ProcessHandle } from '../../src/linux/process.ts';
import { mustRun } from '../support/command.ts';
import { wantedNetns } from '../support/netns-resource.ts';
import { ALICE, ID, NetnsStage } from '../support/netns-stage.ts';
import { requires } from '../support/requires.ts';

const EARLIER_NAME = /\/(base_reachable_time|retrans_time)$/;

requires('root', 'sandbox')('handing over a network namespace', () => {
  let stage: NetnsStage;

  beforeEach(async () => {
    stage = await NetnsStage.set();
  });
  afterEach(() => stage.strike());

  test('gives the kernel nothing to complain of in its log', async () => {
    stage.makeBridged();
    const name = await nameThreads();
    for (const step of await stage.newResource().plan(wantedNetns(ID, ALICE))) await step.apply();
    const logged = await mustRun(['dmesg', '--syslog']);
    expect(logged.split('\n').filter((line) => line.includes(name))).toEqual([]);
  });

  test('reads no parameter by a name that the kernel warns of', async () => {
    using user = userNamespaceOf(stage.alice.pid);
    const made = await makeNetworkNamespace(user, { uid: ALICE, gid: ALICE });
    using netns = made.netns;
    for (const sysctls of [made.sysctls, await readSysctls(netns)]) {
      expect(Object.keys(sysctls).filter((path) => EARLIER_NAME.test(path))).toEqual([]);
      expect(sysctls).toHaveProperty(['ipv6/neigh/lo/base_reachable_time_ms']);
      expect(sysctls).toHaveProperty(['ipv6/neigh/lo/retrans_time_ms']);
    }
  });
});

function userNamespaceOf(pid: number): Handle {
  using process = ProcessHandle.open(pid);
  if (!process) throw new Error(`no process ${pid}`);
  return process.openNamespace('user');
}

/** Gives the threads of this process a name of their own, by which the kernel's log tells ours from others'. */
async function nameThreads(): Promise<string> {
  await readFile('/proc/self/comm'); // there are none of the pool before one is used
  const name = `t${randomBytes(6).toString('hex')}`;
  for (const thread of readdirSync('/proc/self/task')) writeFileSync(`/proc/self/task/${thread}/comm`, name);
  return name;
}
