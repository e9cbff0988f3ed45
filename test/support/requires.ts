import { existsSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { describe } from 'vitest';
import { canAttachBeneath } from '../../src/linux/mount.ts';
import { CHROMIUM } from './chromium.ts';
import { isInNamespaces } from './namespaces.ts';
import { PLUGIN_DIR } from './nomad/group-network.ts';
import { onPath } from './on-path.ts';
import { BUILT_DIRECTORY } from './packages/built.ts';
import { RUN_DIRECTORY } from './systemd/run-parts.ts';

const CONDITIONS = {
  root: { holds: () => process.getuid?.() === 0, reason: 'needs root' },
  sandbox: { holds: isInNamespaces, reason: 'needs the throwaway namespaces of `npm test` (as root)' },
  'mount-beneath': { holds: canAttachBeneath, reason: 'needs a kernel that can mount beneath (Linux 6.5)' },
  'mapped-tmpfs': { holds: () => isKernelSince(6, 3), reason: 'needs a kernel that maps ids on tmpfs (Linux 6.3)' },
  'mount-order': {
    holds: () => isKernelSince(6, 8),
    reason: 'needs a kernel that tells the order of mounts (Linux 6.8)',
  },
  getsubids: { holds: () => onPath('getsubids') !== undefined, reason: 'needs getsubids on PATH' },
  'systemd-analyze': { holds: () => onPath('systemd-analyze') !== undefined, reason: 'needs systemd-analyze on PATH' },
  podman: { holds: () => onPath('podman') !== undefined, reason: 'needs podman on PATH' },
  cni: {
    holds: () => existsSync(join(PLUGIN_DIR, 'bridge')) && onPath('iptables') !== undefined,
    reason: `needs the CNI plugins in ${PLUGIN_DIR} (or CNI_PATH) and iptables on PATH`,
  },
  nomad: {
    holds: () => onPath('nomad') !== undefined && process.env.NOMAD_PLUGIN_DIR !== undefined,
    reason: 'needs nomad on PATH and NOMAD_PLUGIN_DIR with nomad-driver-podman',
  },
  chromium: { holds: () => onPath(CHROMIUM) !== undefined, reason: `needs ${CHROMIUM} on PATH` },
  'systemd-machine': { holds: () => RUN_DIRECTORY !== undefined, reason: 'needs what `npm run test:systemd` makes' },
  packages: { holds: () => BUILT_DIRECTORY !== undefined, reason: 'needs what `npm run test:packages` builds' },
} as const;

function isKernelSince(major: number, minor: number): boolean {
  const [ofKernel = 0, minorOfKernel = 0] = release().split('.').map(Number);
  return ofKernel > major || (ofKernel === major && minorOfKernel >= minor);
}

/** What a test can need of the machine. */
export type Requirement = keyof typeof CONDITIONS;

/**
 * Vitest's describe for tests that need something of the machine: where it is missing they are skipped, with the reason
 * in the title. Under CI (the environment's CI=true) what would be skipped fails.
 * @throws Error on a word that is no requirement, so that a typing mistake cannot skip a test
 */
export function requires(...words: readonly Requirement[]): (title: string, tests: () => void) => void {
  const reasons = words.flatMap((word) => {
    if (!Object.hasOwn(CONDITIONS, word)) {
      throw new Error(`requires: expected one of ${Object.keys(CONDITIONS).join(', ')}, got ${word}`);
    }
    const { holds, reason } = CONDITIONS[word];
    return holds() ? [] : [reason];
  });
  if (reasons.length === 0) return (title, tests) => describe(title, tests);
  const reason = reasons.join(', ');
  if (process.env.CI === 'true') throw new Error(`CI may not skip: ${reason}`);
  return (title, tests) => describe.skip(`${title} [skipped: ${reason}]`, tests);
}
