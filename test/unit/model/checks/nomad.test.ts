import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { makeChecks } from '../../../../src/model/checks/check.ts';
import {
  type DataDirFacts,
  type DriverFacts,
  NOMAD_CHECKS,
  type NomadFacts,
  type NomadSelf,
} from '../../../../src/model/checks/nomad.ts';

const GATES = '/run/nomad-rootless/gate';
const SELF: NomadSelf = {
  nodeId: '59f479a6-475e-cda8-393d-94fb7a1e1d97',
  version: '2.0.5',
  podmanSockets: [{ name: 'alice', path: `${GATES}/alice.sock` }],
  cniPath: ['/opt/cni/bin'],
  disagreements: [],
  httpTimeoutMs: 60_000,
  takesVolumes: true,
};
const DRIVER: DriverFacts = {
  isDetected: true,
  isHealthy: true,
  healthDescription: '',
};
const DATA_DIR: DataDirFacts = {
  path: '/opt/nomad/data',
  allocDir: '/opt/nomad/data/alloc',
  filesystem: 'ext4',
  takesAcls: true,
  isRootOnly: true,
};
const GOOD: NomadFacts = {
  address: 'http://127.0.0.1:4646',
  self: { value: SELF },
  driver: { value: DRIVER },
  events: { value: true },
  nodeProblem: undefined,
  dataDir: { value: DATA_DIR },
  served: { gateDir: GATES, podmanSockets: new Map([['alice', '/run/user/1001/podman/podman.sock']]) },
  gateTimeoutMs: 30_000,
  cniPlugins: new Set(['bridge', 'firewall', 'host-local', 'loopback', 'portmap']),
};
const self = (changed: Partial<NomadSelf>): Partial<NomadFacts> => ({ self: { value: { ...SELF, ...changed } } });
const driver = (changed: Partial<DriverFacts>): Partial<NomadFacts> => ({
  driver: { value: { ...DRIVER, ...changed } },
});
const dataDir = (changed: Partial<DataDirFacts>): Partial<NomadFacts> => ({
  dataDir: { value: { ...DATA_DIR, ...changed } },
});
const problem = (code: string, text = 'why') => ({ code, problem: text });
const NOTHING = { driver: undefined, events: undefined, dataDir: undefined };

function complaints(facts: Partial<NomadFacts>) {
  return makeChecks(NOMAD_CHECKS, { ...GOOD, ...facts }).filter(({ verdict }) => verdict !== 'ok');
}

describe("Nomad's client", () => {
  test('that fits is well, check by check', () => {
    const checks = makeChecks(NOMAD_CHECKS, GOOD);
    expect(checks.map(({ id, verdict }) => [id, verdict])).toEqual(NOMAD_CHECKS.map(({ id }) => [id, 'ok']));
  });

  test.each<[string, Partial<NomadFacts>, string, 'warning' | 'failed', RegExp, RegExp?]>([
    [
      'away',
      { ...NOTHING, self: problem('nomad_unreachable') },
      'nomad',
      'failed',
      /4646: why/,
      /^systemctl start nomad$/,
    ],
    [
      'not for this token',
      { ...NOTHING, self: problem('nomad_denied') },
      'nomad',
      'failed',
      /why/,
      /^printf .* \| nomad acl policy apply/,
    ],
    ['something else', { ...NOTHING, self: problem('parse_error') }, 'nomad', 'failed', /why/],
    ['of another machine', { nodeProblem: 'node x' }, 'node', 'failed', /node x/],
    [
      'other than the configuration says',
      self({ disagreements: ['nomad.data_dir is …'] }),
      'node',
      'warning',
      /data_dir/,
    ],
    ['silent about the node', { driver: problem('nomad_denied') }, 'rights', 'failed', /why/, /nomad acl policy apply/],
    [
      'silent about allocations',
      { events: problem('nomad_denied') },
      'rights',
      'failed',
      /why/,
      /nomad acl policy apply/,
    ],
    ['without a data dir', { dataDir: problem('unexpected', 'ENOENT') }, 'data_dir', 'failed', /ENOENT/],
    [
      'on a filesystem without ACLs',
      dataDir({ takesAcls: false, filesystem: 'vfat' }),
      'data_dir',
      'failed',
      /\(vfat\) does not support POSIX ACLs/,
    ],
    [
      'open to all',
      dataDir({ isRootOnly: false, path: '/data; reboot' }),
      'data_dir',
      'warning',
      /users other than root/,
      /^chmod 0700 '\/data; reboot'$/,
    ],
    ['without the driver', driver({ isDetected: false, isHealthy: false }), 'driver', 'failed', /plugin_dir/],
    [
      'with a driver that is unhealthy',
      driver({ isHealthy: false, healthDescription: 'no' }),
      'driver',
      'failed',
      /: no$/,
    ],
    [
      'without a socket for a user',
      self({ podmanSockets: [{ name: 'x', path: '/x' }] }),
      'driver_sockets',
      'failed',
      /add socket \{ name = "alice"/,
    ],
    [
      'with a socket where no gate is',
      self({ podmanSockets: [...SELF.podmanSockets, { name: 'bob', path: `${GATES}/bob.sock` }] }),
      'driver_sockets',
      'failed',
      /socket "bob" .* where no gate is/,
    ],
    [
      'with a driver that gives up before the gate',
      self({ httpTimeoutMs: 30_000 }),
      'driver_timeout',
      'failed',
      /gives up before/,
    ],
    [
      'with a driver that takes no volumes',
      self({ takesVolumes: false }),
      'driver_volumes',
      'warning',
      /enabled = false/,
    ],
    [
      'without CNI plugins',
      { cniPlugins: new Set(['loopback', 'bridge']) },
      'cni_plugins',
      'warning',
      /^firewall, portmap not in \/opt\/cni\/bin/,
    ],
  ])('that is %s is told of', (_, facts, id, verdict, found, remedy) => {
    const wrong = complaints(facts);
    expect(wrong).toMatchObject([{ id, verdict, found: expect.stringMatching(found) }]);
    if (remedy) expect(wrong[0]?.remedy).toMatch(remedy);
    else expect(wrong[0]).not.toHaveProperty('remedy');
  });

  test('may give up when it will where there are no gates, and needs no socket where there are no users', () => {
    const served = { gateDir: undefined, podmanSockets: GOOD.served.podmanSockets };
    const direct = { podmanSockets: [{ name: 'alice', path: '/run/user/1001/podman/podman.sock' }] };
    expect(complaints({ ...self({ ...direct, httpTimeoutMs: 1 }), served })).toEqual([]);
    expect(
      complaints({ ...self({ podmanSockets: [] }), served: { gateDir: GATES, podmanSockets: new Map() } }),
    ).toEqual([]);
  });

  test('is to be given the rights of the policy that is deployed', () => {
    const policy = readFileSync(new URL('../../../../deploy/nomad/nomad-rootless.policy.hcl', import.meta.url), 'utf8');
    const plain = policy.replace(/^#.*$/gm, '').replace(/\s+/g, ' ').trim();
    const remedy = complaints({ events: problem('nomad_denied') })[0]?.remedy ?? '';
    const [print = '', apply] = remedy.split(' | ');
    expect(execFileSync('sh', ['-c', print], { encoding: 'utf8' }).trim().replace(/\s+/g, ' ')).toBe(plain);
    expect(apply).toBe('nomad acl policy apply nomad-rootless -');
  });
});
