import { describe, expect, test } from 'vitest';
import { makeChecks, shellWord, worstOf } from '../../../../src/model/checks/check.ts';
import { CONFIG_CHECKS, type ConfigFacts, HOST_CHECKS, type HostFacts } from '../../../../src/model/checks/host.ts';

const HOST: HostFacts = {
  node: '24.1.0',
  kernel: '6.12.9-amd64',
  missingCapabilities: [],
  missingPrograms: [],
  mostUserNamespaces: 15_000,
  mayMakeUserNamespaces: undefined,
  hasCgroupV2: true,
  isRootShared: true,
  isSelinuxOn: false,
  isApparmorOn: true,
  hasBridges: true,
  forwards: true,
};

const CONFIG: ConfigFacts = {
  file: '/etc/nomad-rootless/config.yaml',
  problem: undefined,
  unsafe: undefined,
  openTokenFile: undefined,
  users: ['alice', 'bob'],
  asked: undefined,
};

describe('a host', () => {
  const check = (facts: Partial<HostFacts>) => makeChecks(HOST_CHECKS, { ...HOST, ...facts });

  test('that has all is well, check by check', () => {
    expect(check({}).map(({ id }) => id)).toEqual(HOST_CHECKS.map(({ id }) => id));
    expect(worstOf(check({}))).toBe('ok');
  });

  test.each<[string, Partial<HostFacts>, string, 'warning' | 'failed', RegExp, string?]>([
    ['an old Node.js', { node: '20.19.0' }, 'node', 'failed', /20\.19\.0; install Node\.js 24/],
    ['a kernel before 5.14', { kernel: '5.10.0-31-amd64' }, 'kernel', 'failed', /install Linux 5\.14/],
    ['a kernel before 6.3', { kernel: '6.1.0-28-amd64' }, 'kernel', 'warning', /secrets/],
    ['a kernel before 6.11', { kernel: '6.8.0-51-generic' }, 'kernel', 'warning', /6\.11/],
    [
      'a root without all rights',
      { missingCapabilities: ['CAP_SYS_ADMIN'] },
      'capabilities',
      'failed',
      /CAP_SYS_ADMIN/,
    ],
    ['programs that are missing', { missingPrograms: ['/usr/bin/setpriv'] }, 'programs', 'failed', /util-linux/],
    [
      'no user namespaces at all',
      { mostUserNamespaces: 0 },
      'user_namespaces',
      'failed',
      /is 0/,
      'sysctl -w user.max_user_namespaces=15000',
    ],
    [
      'a kernel without user namespaces',
      { mostUserNamespaces: undefined },
      'user_namespaces',
      'failed',
      /CONFIG_USER_NS/,
    ],
    [
      'user namespaces for root alone',
      { mayMakeUserNamespaces: false },
      'user_namespaces',
      'failed',
      /unprivileged_userns_clone/,
      'sysctl -w kernel.unprivileged_userns_clone=1',
    ],
    ['cgroup version 1', { hasCgroupV2: false }, 'cgroup', 'warning', /version 1/],
    ['a private /', { isRootShared: false }, 'propagation', 'failed', /secrets/, 'mount --make-rshared /'],
    ['no bridges', { hasBridges: false }, 'bridge', 'warning', /mode bridge/],
    ['no forwarding', { forwards: false }, 'ip_forward', 'warning', /is 0/, 'sysctl -w net.ipv4.ip_forward=1'],
  ])('with %s is told of it', (_, facts, id, verdict, found, remedy) => {
    const wrong = check(facts).filter((one) => one.verdict !== 'ok');
    expect(wrong).toEqual([
      { id, title: expect.any(String), verdict, found: expect.stringMatching(found), ...(remedy ? { remedy } : {}) },
    ]);
  });

  test('is told which security module is on', () => {
    const found = (facts: Partial<HostFacts>) => check(facts).find(({ id }) => id === 'security_module')?.found;
    expect(found({ isSelinuxOn: true })).toContain('container_file_t');
    expect(found({})).toBe('AppArmor is on');
    expect(found({ isApparmorOn: false })).toBe('neither is on');
  });
});

describe('a configuration', () => {
  const check = (facts: Partial<ConfigFacts>) => makeChecks(CONFIG_CHECKS, { ...CONFIG, ...facts });

  test('that can be used is well', () => {
    expect(check({}).map(({ verdict, found }) => [verdict, found])).toEqual([
      ['ok', '/etc/nomad-rootless/config.yaml'],
      ['ok', 'alice, bob'],
    ]);
    expect(check({ asked: 'bob' })[1]?.verdict).toBe('ok');
  });

  test('that cannot be read is one failure', () => {
    expect(check({ problem: 'config.yaml:3: gate.timeout: expected …', users: [] })).toMatchObject([
      { id: 'config', verdict: 'failed', found: 'config.yaml:3: gate.timeout: expected …' },
    ]);
  });

  test.each<[string, Partial<ConfigFacts>, string, RegExp, string?]>([
    ['others can change', { unsafe: { found: '/etc (uid 1)', remedy: 'chown' } }, 'config', /uid 1/, 'chown'],
    ['shows its token', { openTokenFile: "/a b'c" }, 'config', /token/, "chmod go-rwx '/a b'\\''c'"],
    ['names no users', { users: [] }, 'users', /none: no task can run/],
    ['does not name a user', { asked: 'carol' }, 'users', /carol is not one of users \(alice, bob\)/],
  ])('that %s is told of it', (_, facts, id, found, remedy) => {
    const wrong = check(facts).filter(({ verdict }) => verdict !== 'ok');
    expect(wrong).toMatchObject([{ id, verdict: 'failed', found: expect.stringMatching(found) }]);
    expect(wrong[0]?.remedy).toBe(remedy);
  });
});

test('a word of a command that somebody else chose stays one word', () => {
  expect(shellWord('/opt/nomad/data')).toBe('/opt/nomad/data');
  expect(shellWord('$(reboot); `x` \n')).toBe("'$(reboot); `x` \n'");
  expect(shellWord('')).toBe("''");
  expect(shellWord("a'b")).toBe("'a'\\''b'");
});
