import { describe, expect, test } from 'vitest';
import { ParseError, RefusedError } from '../../../src/errors.ts';
import { parseAgentSelf } from '../../../src/nomad/agent-self.ts';
import { jsonFixture, NODE_ID } from '../../support/nomad-fixture.ts';

interface Change {
  readonly DataDir?: string;
  readonly Client?: unknown;
  readonly Version?: unknown;
  readonly Plugins?: unknown;
}

function agentWith(change: Change): Record<string, unknown> {
  const self = jsonFixture('agent-self.json');
  return { ...self, config: { ...(self['config'] as object), ...change } };
}

function podmanWith(Config: unknown) {
  return parseAgentSelf(agentWith({ Plugins: [{ Name: 'nomad-driver-podman', Config }] })).podmanSockets;
}

describe("the agent's own description", () => {
  test('says where allocations are and which sockets the driver has', () => {
    expect(parseAgentSelf(jsonFixture('agent-self.json'))).toEqual({
      nodeId: NODE_ID,
      dataDir: '/var/lib/nomad',
      allocDir: '/var/lib/nomad/alloc',
      stateDir: '/var/lib/nomad/client',
      hostVolumesDir: '/var/lib/nomad/host_volumes',
      csiDir: '/var/lib/nomad/client/csi',
      version: '2.0.5',
      podmanSockets: [
        { name: 'alice', path: '/run/nomad-rootless/alice.sock' },
        { name: 'bob', path: '/run/user/2002/podman/podman.sock' },
      ],
      keepsContainers: false,
      httpTimeoutMs: 60_000,
      takesVolumes: true,
      cniPath: ['/usr/lib/cni'],
      disagreements: [],
    });
  });

  test('names an alloc dir of its own where there is one', () => {
    const self = parseAgentSelf(agentWith({ Client: { AllocDir: '/srv/alloc', StateDir: '/srv/state' } }));
    expect([self.dataDir, self.allocDir, self.stateDir]).toEqual(['/var/lib/nomad', '/srv/alloc', '/srv/state']);
  });

  test('names places of their own for volumes where there are some', () => {
    const Client = { AllocDir: '', StateDir: '/srv/state', HostVolumesDir: '/srv/volumes' };
    const { hostVolumesDir, csiDir } = parseAgentSelf(agentWith({ Client }));
    expect([hostVolumesDir, csiDir]).toEqual(['/srv/volumes', '/srv/state/csi']);
  });

  test('gives way to what the operator sets', () => {
    const nodeId = '35ef367e-8026-c171-16fa-c405e00b640b';
    const self = parseAgentSelf(jsonFixture('agent-self.json'), { nodeId, dataDir: '/data', allocDir: '/allocs' });
    expect([self.nodeId, self.dataDir, self.allocDir]).toEqual([nodeId, '/data', '/allocs']);
    expect(self.disagreements).toEqual([
      `nomad.node_id is ${nodeId} in the configuration, which takes precedence; Nomad says ${NODE_ID}`,
      'nomad.data_dir is /data in the configuration, which takes precedence; Nomad says /var/lib/nomad',
      'nomad.alloc_dir is /allocs in the configuration, which takes precedence; Nomad says /var/lib/nomad/alloc',
    ]);
  });

  test('agrees with a configuration that says the same, or what Nomad does not say', () => {
    const same = { nodeId: NODE_ID, dataDir: '/var/lib/nomad', allocDir: '/var/lib/nomad/alloc' };
    expect(parseAgentSelf(jsonFixture('agent-self.json'), same).disagreements).toEqual([]);
    expect(parseAgentSelf(agentWith({ DataDir: '' }), { allocDir: '/a', dataDir: '/d' }).disagreements).toEqual([]);
  });

  test('of a server alone is refused with the remedy', () => {
    const { client: _, ...stats } = jsonFixture('agent-self.json')['stats'] as Record<string, unknown>;
    const server = { ...agentWith({ Client: null }), stats };
    expect(() => parseAgentSelf(server)).toThrow(RefusedError);
    expect(() => parseAgentSelf(server)).toThrow('runs no client: set nomad.address to the agent on this machine');
    expect(parseAgentSelf(server, { nodeId: NODE_ID, allocDir: '/a' }).nodeId).toBe(NODE_ID);
  });

  test('without a data dir is refused with the remedy', () => {
    expect(() => parseAgentSelf(agentWith({ DataDir: '' }))).toThrow('set nomad.data_dir and nomad.alloc_dir');
  });

  test('without a configuration is an error that says where', () => {
    expect(() => parseAgentSelf({ stats: {} })).toThrow(ParseError);
    expect(() => parseAgentSelf({ stats: {} })).toThrow('agent/self.config: expected object, got nothing');
  });

  test('gives a prerelease its name', () => {
    const Version = { Version: '2.1.0', VersionPrerelease: 'beta.1' };
    expect(parseAgentSelf(agentWith({ Version })).version).toBe('2.1.0-beta.1');
  });

  test.each([
    ['one path', { socket_path: 'unix:///run/p.sock' }, [{ name: 'default', path: '/run/p.sock' }]],
    ['one block', { socket: { name: 'a', socket_path: 'unix:/run/a' } }, [{ name: 'a', path: '/run/a' }]],
    ['no socket', { gc: [{ container: true }] }, []],
    ['nothing', null, []],
  ])('reads a driver that is configured with %s', (_, config, sockets) => {
    expect(podmanWith(config)).toEqual(sockets);
  });

  test.each([
    ['a list', { gc: [{ container: false }] }, true],
    ['one block', { gc: { container: false } }, true],
    ['an empty block', { gc: [{}] }, false],
    ['none', {}, false],
  ])('reads from %s of gc blocks whether the driver keeps containers that have ended', (_, Config, keeps) => {
    const Plugins = [{ Name: 'nomad-driver-podman', Config }];
    expect(parseAgentSelf(agentWith({ Plugins })).keepsContainers).toBe(keeps);
  });

  test.each([
    ['/a:/b', ['/a', '/b']],
    ['', ['/opt/cni/bin']],
    ['relative:/a', ['/a']],
  ])('reads from the CNI path %j where plugins lie: %j', (CNIPath, dirs) => {
    expect(parseAgentSelf(agentWith({ Client: { AllocDir: '', CNIPath } })).cniPath).toEqual(dirs);
  });

  test('reads an agent without plugin blocks', () => {
    expect(parseAgentSelf(agentWith({ Plugins: null })).podmanSockets).toEqual([]);
  });
});
