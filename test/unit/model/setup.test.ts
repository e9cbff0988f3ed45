import { describe, expect, test } from 'vitest';
import type { UserFacts } from '../../../src/model/checks/user.ts';
import { commandsAgainst, commandsFor, planSetup, socketBlocks } from '../../../src/model/setup.ts';

const READY: UserFacts = {
  name: 'alice',
  minUid: 1000,
  account: { value: { uid: 1001 } },
  ids: { problem: undefined, remedy: undefined, counts: { uid: 65_536, gid: 65_536 } },
  systemd: { lingers: true, manager: 'active' },
  socket: '/run/user/1001/podman/podman.sock',
  listener: { value: 1001 },
  podman: undefined,
  containersConf: undefined,
};
const range = { owner: 'alice', start: 100_000, count: 65_536 };
const NEW: Partial<UserFacts> = {
  ids: {
    problem: { code: 'no_subordinate_ids', reason: 'no range' },
    remedy: { command: 'usermod', adds: ['uid', 'gid'], range },
    counts: { uid: 0, gid: 0 },
  },
  systemd: { lingers: false, manager: 'inactive' },
  listener: { value: undefined },
};

describe('setup', () => {
  test('does for a new user all that it takes, and takes it back in commands that name what was done', () => {
    const plan = planSetup({ ...READY, ...NEW }, false);
    const changes = 'changes' in plan ? plan.changes : [];
    expect(changes.map(({ kind }) => kind)).toEqual(['subordinate_ids', 'linger', 'podman_socket', 'config']);
    expect(changes.flatMap(commandsFor).map((command) => command.join(' '))).toEqual([
      'usermod --add-subuids 100000-165535 --add-subgids 100000-165535 alice',
      'loginctl enable-linger alice',
      'systemctl start user@1001.service',
      'systemctl --user --machine=alice@ enable --now podman.socket',
    ]);
    expect(changes.flatMap(commandsAgainst).map((command) => command.join(' '))).toEqual([
      'systemctl stop user-1001.slice',
      'usermod --del-subuids 100000-165535 --del-subgids 100000-165535 alice',
      'loginctl disable-linger alice',
      'systemctl --user --machine=alice@ disable --now podman.socket podman.service',
    ]);
  });

  test('has nothing to do for a user who has all', () => {
    expect(planSetup(READY, true)).toEqual({ changes: [] });
    expect(planSetup(READY, false)).toEqual({ changes: [{ kind: 'config', user: 'alice' }] });
  });

  test.each<[string, Partial<UserFacts>, RegExp]>([
    ['cannot be looked up', { account: { code: 'x', problem: 'getent: timeout' } }, /alice: getent: timeout/],
    ['has no account', { account: { value: undefined } }, /useradd --create-home alice/],
    ['is root', { account: { value: { uid: 0 } } }, /uid 0 is below min_uid/],
    ['is a system user', { account: { value: { uid: 33 } } }, /uid 33 is below min_uid, 1000/],
    ['is on a host without systemd', { systemd: undefined }, /systemd/],
    [
      'shares ids with others, whose processes would have to be stopped',
      {
        ids: {
          problem: { code: 'subordinate_ids_overlap', reason: 'overlap those of bob' },
          remedy: { command: 'x', adds: undefined, range },
          counts: undefined,
        },
      },
      /overlap those of bob/,
    ],
    ["has somebody else's socket", { listener: { value: 1002 } }, /uid 1002 listens/],
    ['has a socket that is full', { listener: { code: 'no_listener', problem: 'EAGAIN' } }, /EAGAIN/],
  ])('does nothing for a user who %s', (_, facts, obstacle) => {
    expect(planSetup({ ...READY, ...facts }, false)).toEqual({ obstacle: expect.stringMatching(obstacle) });
  });

  test('has blocks to paste', () => {
    expect(socketBlocks(['alice'], '/run/nomad-rootless/gate')).toBe(`plugin "nomad-driver-podman" {
  config {
    socket {
      name        = "alice"
      socket_path = "unix:///run/nomad-rootless/gate/alice.sock"
    }
  }
}
`);
  });
});
