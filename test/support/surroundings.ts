import type { Surroundings } from '../../src/agent/node-checks.ts';

/** A host of which no check complains. */
export const GOOD_SURROUNDINGS: Surroundings = {
  host: {
    node: '24.1.0',
    kernel: '6.12.9',
    missingCapabilities: [],
    missingPrograms: [],
    mostUserNamespaces: 60_000,
    mayMakeUserNamespaces: undefined,
    hasCgroupV2: true,
    isRootShared: true,
    isSelinuxOn: false,
    isApparmorOn: false,
    hasBridges: true,
    forwards: true,
  },
  dataDir: {
    value: { path: '/nomad', allocDir: '/nomad/alloc', filesystem: 'ext4', takesAcls: true, isRootOnly: true },
  },
  cniPlugins: new Set(['bridge', 'firewall', 'loopback', 'portmap']),
};
