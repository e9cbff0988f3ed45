import { join } from 'node:path';
import { systemClock } from '../../src/clock.ts';
import type { Desired } from '../../src/model/desired.ts';
import { DataDir } from '../../src/resources/data-dir.ts';
import { CniCache } from '../../src/resources/netns/cni-cache.ts';
import { MigrationJournal } from '../../src/resources/netns/migration-journal.ts';
import { type NetnsOptions, NetnsResource } from '../../src/resources/netns/netns.ts';
import { NetnsDirectory } from '../../src/resources/netns/netns-directory.ts';
import { SpareNamespaces } from '../../src/resources/netns/spare-namespaces.ts';
import { PodmanNamespaces } from '../../src/resources/podman-namespaces.ts';
import { accessOf } from './access-of.ts';
import { LeapingClock } from './leaping-clock.ts';

/** How a resource for tests differs from the agent's. */
export interface NetnsResourceOptions
  extends Partial<Pick<NetnsOptions, 'reached' | 'ordering' | 'spares' | 'pluginDirs' | 'clock'>> {
  /** Where the Podman of the user listens; in the base directory unless told. */
  readonly socket?: string;
  /** Whether a mount can be put beneath another; as the kernel says unless told. */
  readonly beneath?: boolean;
}

/**
 * The agent's resource for network namespaces, for a user alice whose Podman listens at `<base>/<uid>/podman.sock`; its
 * alloc dir and its state lie in the base directory, the namespaces where Nomad has them.
 */
export function newNetnsResource(
  base: string,
  uid: number,
  { beneath, socket = join(base, String(uid), 'podman.sock'), ...options }: NetnsResourceOptions = {},
): { resource: NetnsResource; namespaces: PodmanNamespaces } {
  const namespaces = new PodmanNamespaces(new LeapingClock());
  const owner = { name: 'alice', uid, gid: uid, socket };
  const resource = new NetnsResource({
    dataDir: new DataDir(join(base, 'alloc'), base),
    directory: new NetnsDirectory('/var/run/netns', beneath),
    journal: new MigrationJournal(join(base, 'state')),
    spares: new SpareNamespaces(systemClock),
    namespaces,
    owners: () => [owner],
    cache: new CniCache(join(base, 'cni')),
    pluginDirs: [],
    clock: { ...systemClock, after: atOnce },
    ordering: 'gate',
    ...options,
  });
  return { resource, namespaces };
}

/** What is kept of a migration for a time is not: there is none after its end. */
function atOnce(_ms: number, action: () => void): () => void {
  action();
  return () => undefined;
}

/** What an allocation of alice's with a group network is to have, a container waiting for it. */
export function wantedNetns(id: string, uid: number, isAwaited = true): Desired {
  return accessOf(id, [{ name: 'alice', uid, tasks: ['t'] }], {
    netns: { mode: 'bridge', isAwaited, isJoined: true },
  });
}
