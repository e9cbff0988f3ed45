import { describe, expect, test } from 'vitest';
import type { UnitFacts } from '../../../src/model/checks/service.ts';
import type { UserFacts } from '../../../src/model/checks/user.ts';
import {
  type Change,
  commandsAgainst,
  commandsFor,
  planSetup,
  planUndo,
  planUnit,
  socketBlocks,
} from '../../../src/model/setup.ts';

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

const DISABLED: UnitFacts = {
  loadState: 'loaded',
  activeState: 'inactive',
  unitFileState: 'disabled',
  mainPid: 0,
  before: ['nomad.service'],
  fdStoreMax: 1024,
  isStale: false,
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

  test('enables a unit that is there and not enabled, and where systemd would keep the gates lets them go again', () => {
    const [change] = planUnit({ version: 257, unit: DISABLED }, { kind: 'stopped' });
    expect(change && [commandsFor(change), commandsAgainst(change)]).toEqual([
      [['systemctl', 'enable', '--now', 'nomad-rootless.service']],
      [
        ['systemctl', 'disable', '--now', 'nomad-rootless.service'],
        ['systemctl', 'clean', '--what=fdstore', 'nomad-rootless.service'],
      ],
    ]);
    expect(planUnit({ version: 252, unit: DISABLED }, { kind: 'stopped' })).toEqual([
      { kind: 'unit', keepsGates: false },
    ]);
  });

  test.each<[string, Parameters<typeof planUnit>]>([
    ['on a host without systemd', [undefined, { kind: 'stopped' }]],
    ['where there is no unit', [{ version: 257, unit: { ...DISABLED, loadState: 'not-found' } }, { kind: 'stopped' }]],
    ['that is enabled', [{ version: 257, unit: { ...DISABLED, unitFileState: 'enabled' } }, { kind: 'stopped' }]],
    ['that is masked', [{ version: 257, unit: { ...DISABLED, unitFileState: 'masked' } }, { kind: 'stopped' }]],
    ['where an agent answers, which Nomad may run', [{ version: 257, unit: DISABLED }, { kind: 'answers' }]],
    ['where one is there and does not answer', [{ version: 257, unit: DISABLED }, { kind: 'silent' }]],
  ])('enables no unit %s', (_, facts) => {
    expect(planUnit(...facts)).toEqual([]);
  });

  test('takes the unit back with the last user whom it serves, and only where it was setup that enabled it', () => {
    const unit: Change = { kind: 'unit', keepsGates: true };
    const [alice, bob] = ['alice', 'bob'].map((user): Change => ({ kind: 'config', user })) as [Change, Change];
    const record = [alice, unit, bob];
    expect(planUndo(record, ['alice'], ['alice', 'bob'])).toEqual({ changes: [alice], served: ['bob'] });
    expect(planUndo([unit, bob], ['bob'], ['bob'])).toEqual({ changes: [bob, unit], served: [] });
    expect(planUndo([alice, unit], ['alice'], ['alice', 'carol'])).toEqual({ changes: [alice], served: ['carol'] });
    expect(planUndo([alice], ['alice'], ['alice'])).toEqual({ changes: [alice], served: [] });
    expect(planUndo(record, ['alice', 'bob'], [])).toEqual({ changes: [bob, unit, alice], served: [] });
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
