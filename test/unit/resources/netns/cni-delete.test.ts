import { expect, test } from 'vitest';
import type { CniAttachment } from '../../../../src/resources/netns/cni-cache.ts';
import { deleteCalls } from '../../../../src/resources/netns/cni-delete.ts';
import { ALLOCATION_ID as ID } from '../../../support/allocation-of.ts';

const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }];
const attachment: CniAttachment = {
  file: '/cache/nomad',
  networkName: 'nomad',
  interfaceName: 'eth0',
  netns: `/var/run/netns/${ID}`,
  cniVersion: '0.4.0',
  plugins: [
    { type: 'loopback' },
    { type: 'bridge', bridge: 'nomad' },
    { type: 'portmap', capabilities: { portMappings: true } },
  ],
  capabilityArgs: { portMappings },
  result: { cniVersion: '0.4.0', ips: [] },
};
const callsFor = (changes: Partial<CniAttachment> = {}) =>
  deleteCalls({ ...attachment, ...changes }, ID, ['/a', '/b'], (type) => `/a/${type}`);

test('the plugins are called from the last to the first, each with its own configuration', () => {
  const common = {
    command: 'DEL',
    containerId: ID,
    netns: attachment.netns,
    interfaceName: 'eth0',
    pluginPath: '/a:/b',
  };
  const shared = { name: 'nomad', cniVersion: '0.4.0', prevResult: attachment.result };
  expect(callsFor()).toEqual([
    {
      ...common,
      program: '/a/portmap',
      config: { type: 'portmap', capabilities: { portMappings: true }, ...shared, runtimeConfig: { portMappings } },
    },
    { ...common, program: '/a/bridge', config: { type: 'bridge', bridge: 'nomad', ...shared } },
    { ...common, program: '/a/loopback', config: { type: 'loopback', ...shared } },
  ]);
});

test.each([
  ['0.3.1', false],
  ['', false],
  ['0.4.0', true],
  ['1.0.0', true],
  ['1.1.0', true],
])('a network of version %j gets the result of ADD: %s', (cniVersion, gets) => {
  for (const { config } of callsFor({ cniVersion })) expect('prevResult' in config).toBe(gets);
});
