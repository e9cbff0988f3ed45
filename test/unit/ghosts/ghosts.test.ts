import { expect, test, vi } from 'vitest';
import { Ghosts } from '../../../src/ghosts/ghosts.ts';
import { createMetrics } from '../../../src/metrics.ts';
import type { PodmanUser } from '../../../src/podman/connect.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { silent } from '../../support/silent-log.ts';

const userOf = (name: string, uid: number): PodmanUser => ({ name, uid, gid: uid, home: '/', socket: `/${name}` });
const [alice, bob] = [userOf('alice', 1001), userOf('bob', 1002)];

function setUp() {
  const clock = new ManualClock();
  const looks: string[] = [];
  let users: readonly PodmanUser[] = [alice, bob];
  const sourceOf = (what: string, look = async () => [] as never[]) => ({
    what,
    look: () => {
      looks.push(what);
      return look();
    },
  });
  const hanging = vi.fn(() => new Promise<never[]>(() => undefined));
  const ghosts = new Ghosts({
    users: () => users,
    containersOf: ({ name }) => sourceOf(name, name === 'alice' ? hanging : undefined),
    networks: sourceOf('networks'),
    graceMs: 300_000,
    clock,
    log: silent,
    metrics: createMetrics('test'),
  });
  const pass = async (ms: number) => {
    clock.advance(ms);
    for (let turn = 0; turn < 50; turn++) await undefined;
    return looks.splice(0).sort();
  };
  return {
    ghosts,
    pass,
    change: (next: readonly PodmanUser[]) => {
      users = next;
    },
  };
}

test('after a listing everybody is looked at, and after an end only those whose it was', async () => {
  const { ghosts, pass } = setUp();
  ghosts.lookSoon();
  expect(await pass(9000)).toEqual([]);
  expect(await pass(2000)).toEqual(['alice', 'bob', 'networks']);
  ghosts.lookSoonAt([bob.uid]);
  ghosts.lookSoonAt([bob.uid]);
  expect(await pass(10_000)).toEqual(['bob', 'networks']);
});

test("one user's Podman that never answers keeps nobody else's from being looked at", async () => {
  const { ghosts, pass } = setUp();
  for (let listing = 0; listing < 3; listing++) {
    ghosts.lookSoon();
    expect(await pass(11_000)).toEqual(listing === 0 ? ['alice', 'bob', 'networks'] : ['bob', 'networks']);
  }
});

test('users who come are looked at, and those who went are not', async () => {
  const { ghosts, pass, change } = setUp();
  change([bob]);
  ghosts.lookSoon();
  expect(await pass(11_000)).toEqual(['bob', 'networks']);
  change([userOf('carol', 1003)]);
  ghosts.lookSoon();
  expect(await pass(11_000)).toEqual(['carol', 'networks']);
});

test('nothing is looked at once it is stopped', async () => {
  const { ghosts, pass } = setUp();
  ghosts.lookSoon();
  ghosts.stop();
  ghosts.lookSoonAt([bob.uid]);
  expect(await pass(60_000)).toEqual([]);
});
