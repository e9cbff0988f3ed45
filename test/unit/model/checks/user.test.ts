import { describe, expect, test } from 'vitest';
import { makeChecks } from '../../../../src/model/checks/check.ts';
import { type PodmanReport, USER_CHECKS, type UserFacts } from '../../../../src/model/checks/user.ts';

const SOCKET = '/run/user/1001/podman/podman.sock';
const PODMAN: PodmanReport = {
  version: '5.4.2',
  isRootless: true,
  cgroupVersion: 'v2',
  cgroupControllers: ['cpu', 'memory', 'pids'],
  storageDriver: 'overlay',
};
const GOOD: UserFacts = {
  name: 'alice',
  minUid: 1000,
  account: { value: { uid: 1001 } },
  ids: { problem: undefined, remedy: undefined, counts: { uid: 65_536, gid: 65_536 } },
  systemd: { lingers: true, manager: 'active' },
  socket: SOCKET,
  listener: { value: 1001 },
  podman: { value: PODMAN },
  containersConf: { value: { userns: '', defaultSysctls: [] } },
};
const podman = (changed: Partial<PodmanReport>): Partial<UserFacts> => ({
  podman: { value: { ...PODMAN, ...changed } },
});
const conf = (userns: string, ...defaultSysctls: string[]): Partial<UserFacts> => ({
  containersConf: { value: { userns, defaultSysctls } },
});
const NOTHING = {
  ids: undefined,
  systemd: undefined,
  socket: undefined,
  listener: undefined,
  podman: undefined,
  containersConf: undefined,
};
const REMEDY = { command: 'usermod …', adds: undefined, range: { owner: 'alice', start: 1, count: 1 } };
const PING = 'net.ipv4.ping_group_range=0 0';
const RESTART = 'systemctl --user --machine=alice@ restart podman.socket podman.service';

function complaints(facts: Partial<UserFacts>) {
  return makeChecks(USER_CHECKS, { ...GOOD, ...facts }, 'alice').filter(({ verdict }) => verdict !== 'ok');
}

describe('a user', () => {
  test('who has all is well, check by check', () => {
    const checks = makeChecks(USER_CHECKS, GOOD, 'alice');
    expect(checks.map(({ id, verdict }) => [id, verdict])).toEqual(USER_CHECKS.map(({ id }) => [id, 'ok']));
    expect(new Set(checks.map(({ user }) => user))).toEqual(new Set(['alice']));
  });

  test.each<[string, Partial<UserFacts>, string, 'warning' | 'failed', RegExp, string?]>([
    [
      'has no account',
      { ...NOTHING, account: { value: undefined } },
      'account',
      'failed',
      /none/,
      'useradd --create-home alice',
    ],
    [
      'cannot be looked up',
      { ...NOTHING, account: { code: 'x', problem: 'getent: timeout' } },
      'account',
      'failed',
      /timeout/,
    ],
    ['is root', { account: { value: { uid: 0 } }, listener: { value: 0 } }, 'account', 'failed', /root/],
    [
      'is below min_uid',
      { account: { value: { uid: 999 } }, listener: { value: 999 } },
      'account',
      'failed',
      /uid 999 is below min_uid, 1000/,
    ],
    [
      'shares her ids',
      { ids: { problem: { code: 'x', reason: 'overlap those of bob' }, remedy: REMEDY, counts: undefined } },
      'subordinate_ids',
      'failed',
      /bob/,
      'usermod …',
    ],
    [
      'has few ids',
      { ids: { problem: undefined, remedy: undefined, counts: { uid: 65_536, gid: 1000 } } },
      'subordinate_ids',
      'warning',
      /^1000/,
    ],
    [
      'has ids elsewhere',
      { ids: { problem: undefined, remedy: undefined, counts: undefined } },
      'subordinate_ids',
      'warning',
      /nsswitch/,
    ],
    [
      'does not linger',
      { systemd: { lingers: false, manager: 'active' } },
      'linger',
      'failed',
      /off/,
      'loginctl enable-linger alice',
    ],
    [
      'has no manager',
      { systemd: { lingers: true, manager: 'failed' } },
      'user_manager',
      'failed',
      /user@1001.service is failed/,
      'systemctl start user@1001.service',
    ],
    [
      'has no socket',
      { listener: { value: undefined }, podman: undefined },
      'podman_socket',
      'failed',
      /nothing listens/,
      'systemctl --user --machine=alice@ enable --now podman.socket',
    ],
    [
      "has somebody else's socket",
      { listener: { value: 1002 }, podman: undefined },
      'podman_socket',
      'failed',
      /uid 1002/,
      RESTART,
    ],
    [
      'has a socket that is full',
      { listener: { code: 'no_listener', problem: 'EAGAIN' }, podman: undefined },
      'podman_socket',
      'failed',
      /EAGAIN/,
      RESTART,
    ],
    [
      'has a Podman that hangs',
      { podman: { code: 'podman_silent', problem: 'no answer within 5 s' } },
      'podman',
      'failed',
      /5 s/,
      RESTART,
    ],
    ["has root's Podman", podman({ isRootless: false }), 'podman', 'failed', /not rootless/],
    ['has a Podman before 4.3', podman({ version: '4.2.1' }), 'podman', 'warning', /4\.2\.1: .* tested with 4\.3/],
    ['has a Podman before 4', podman({ version: '3.4.4' }), 'podman', 'warning', /3\.4\.4/],
    ['has cgroup version 1', podman({ cgroupVersion: 'v1' }), 'podman_cgroups', 'warning', /v1/],
    [
      'was given few controllers',
      podman({ cgroupControllers: ['pids'] }),
      'podman_cgroups',
      'warning',
      /without cpu, memory: .*user@1001\.service/,
    ],
    ['stores by vfs', podman({ storageDriver: 'vfs' }), 'podman_storage', 'warning', /copies/],
    [
      'has a broken containers.conf',
      { containersConf: { code: 'containers_conf', problem: 'x is no' } },
      'containers_conf',
      'failed',
      /x is no/,
    ],
    [
      'has user namespaces that join nothing',
      conf('keep-id:uid=5', PING),
      'containers_conf',
      'warning',
      /ping_group_range.*default_sysctls = \[\]/,
    ],
  ])('who %s is told of', (_, facts, id, verdict, found, remedy) => {
    const wrong = complaints(facts);
    expect(wrong).toMatchObject([{ id, user: 'alice', verdict, found: expect.stringMatching(found) }]);
    expect(wrong[0]?.remedy).toBe(remedy);
  });

  test('may have sysctls in the user namespace of her Podman, and others than of the network in any', () => {
    expect(complaints(conf('', PING))).toEqual([]);
    expect(complaints(conf('host', PING))).toEqual([]);
    expect(complaints(conf('auto', 'kernel.msgmax=1'))).toEqual([]);
  });

  test('is not asked of where systemd has not booted the host', () => {
    const ids = makeChecks(USER_CHECKS, { ...GOOD, systemd: undefined }).map(({ id }) => id);
    expect(ids).not.toContain('linger');
    expect(ids).not.toContain('user_manager');
  });
});
