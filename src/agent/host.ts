import { systemClock } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { canonicalPath } from '../linux/directory.ts';
import type { Desired } from '../model/desired.ts';
import type { LiveVolume } from '../model/volume.ts';
import type { ClientPaths } from '../nomad/agent-self.ts';
import type { HostUser } from '../reconcile/accounts.ts';
import { AclResource } from '../resources/acl.ts';
import { DataDir } from '../resources/data-dir.ts';
import { LogFifoResource } from '../resources/log-fifo.ts';
import { type NetnsOptions, NetnsResource } from '../resources/netns/netns.ts';
import { NetnsDirectory } from '../resources/netns/netns-directory.ts';
import { SwapJournal } from '../resources/netns/swap-journal.ts';
import { PodmanNamespaces, type PodmanOwner } from '../resources/podman-namespaces.ts';
import type { Resource, Step } from '../resources/resource.ts';
import { Skeletons } from '../resources/skeleton.ts';
import { TraverseResource } from '../resources/traverse.ts';
import { ViewResource } from '../resources/view.ts';
import { VolumeAclResource } from '../resources/volume-acl.ts';
import { VolumeDirectories } from '../resources/volume-directories.ts';
import { VolumeViewResource } from '../resources/volume-view.ts';

/** What an allocation gets on this host, and where its traces are. */
export interface Host {
  readonly allocDir: string;
  /** In the order in which they are settled: an allocation is locked before it is shown to anybody. */
  readonly resources: readonly Resource[];
  /** Where Nomad mounts the network namespaces of its allocations. */
  readonly netnsDir: string;
  /** The uids that the tasks of an allocation have been prepared for, by task. */
  grantedOn(id: string): ReadonlyMap<string, number>;
  /** Whether the network namespace of an allocation belongs to its user, as far as was last seen. */
  isNetnsOwned(id: string): boolean;
  /** The allocations that may have something of ours: with a directory, with a place in a view, with a netns half made. */
  allocationIds(): string[];
  /** Whether Nomad's directory of an allocation is there. */
  hasDirectory(id: string): boolean;
  /** Steps against what belongs to no allocation: empty skeletons, a way in that nobody needs. */
  sweep(): Step[];
  close(): void;
}

/** What makeHost works with. `accountOf` looks a user up by name or uid. */
export interface HostOptions {
  readonly config: Pick<Config, 'access' | 'ordering' | 'stateDir' | 'users' | 'volumes'>;
  readonly paths: ClientPaths;
  readonly accountOf: (nameOrUid: string | number) => HostUser | undefined;
  /** uids of users with an allocation that needs access; undefined while that is not known. */
  readonly liveUids: () => ReadonlySet<number> | undefined;
  /** The volumes that allocations need; undefined while that is not known. */
  readonly liveVolumes: () => readonly LiveVolume[] | undefined;
  /** Told of each point that the swap of a netns reaches. */
  readonly onSwap?: NonNullable<NetnsOptions['reached']>;
}

/** Puts the resources together for the configured access mode. The other mode's only take away what it left behind. */
export function makeHost({ config, paths, accountOf, liveUids, liveVolumes, onSwap }: HostOptions): Host {
  const byAcl = config.access === 'acl';
  const dataDir = new DataDir(canonicalPath(paths.allocDir));
  const namespaces = new PodmanNamespaces();
  const skeletons = new Skeletons(config.stateDir);
  const traverse = new TraverseResource(dataDir, byAcl ? liveUids : () => NOBODY);
  const owners = () => ownersIn(config.users, accountOf);
  const view = new ViewResource(dataDir, skeletons, namespaces, owners);
  const acl = new AclResource(dataDir, byAcl ? () => traverse.passing() : () => NOBODY);
  const logFifo = new LogFifoResource(dataDir);
  const directory = new NetnsDirectory();
  const netns = new NetnsResource({
    dataDir,
    directory,
    journal: new SwapJournal(config.stateDir),
    namespaces,
    owners,
    clock: systemClock,
    ordering: config.ordering,
    ...(onSwap ? { reached: onSwap } : {}),
  });
  const directories = new VolumeDirectories(paths);
  const opensVolumes = config.volumes === 'acl' && !byAcl;
  const volumeAcl = new VolumeAclResource('host', directories, opensVolumes ? liveVolumes : () => []);
  const csiAcl = new VolumeAclResource('csi', directories, byAcl ? () => [] : liveVolumes);
  const { access: mode } = config;
  const volumeView = new VolumeViewResource({
    ...{ dataDir, directories, skeletons, namespaces, owners, access: mode },
    live: liveVolumes,
  });
  const volumes = [opensVolumes ? volumeAcl : unused(volumeAcl), byAcl ? unused(csiAcl) : csiAcl, volumeView];
  const access = byAcl ? [acl, unused(view), traverse] : [untilSettled(unused(traverse)), acl, view];
  return {
    allocDir: dataDir.allocDir,
    // A way in is closed before the fences come down, and a directory is locked before anybody is let in.
    resources: [...access, ...volumes, logFifo, netns],
    netnsDir: directory.path,
    grantedOn: (id) => acl.granted(id),
    isNetnsOwned: (id) => netns.isOwned(id),
    allocationIds: () => [...new Set([...dataDir.ids(), ...view.allocationIds(), ...netns.allocationIds()])],
    hasDirectory: (id) => {
      using allocation = dataDir.open(id);
      return allocation !== undefined;
    },
    sweep: () => [
      ...view.planSweep(),
      ...volumeView.planSweep(),
      ...volumeAcl.planSweep(),
      ...csiAcl.planSweep(),
      ...traverse.plan(NO_ALLOCATION),
    ],
    close: () => namespaces.close(),
  };
}

/** Desires nothing and is no allocation: what then is to be done is not an allocation's. */
const NO_ALLOCATION: Desired = { kind: 'nothing', id: '', why: 'gone' };

const NOBODY: ReadonlySet<number> = new Set();

/** A resource of the other access mode: it takes away what is left of it. */
function unused(resource: Resource): Resource {
  const nothing = ({ id }: Desired): Desired => ({ kind: 'nothing', id, why: 'unmanaged' });
  return { kind: resource.kind, onlyRemoves: true, plan: (desired) => resource.plan(nothing(desired)) };
}

/** A resource whose plan is the same for every allocation, and which nothing unsettles again: asked until it has nothing to do. */
function untilSettled(resource: Resource): Resource {
  let settled = false;
  return {
    ...resource,
    plan: async (desired) => {
      const steps = settled ? [] : await resource.plan(desired);
      settled = steps.length === 0;
      return steps;
    },
  };
}

function ownersIn(users: Config['users'], accountOf: HostOptions['accountOf']): PodmanOwner[] {
  return [...users].flatMap(([name, { socket }]) => {
    const account = accountOf(name);
    return account ? [{ name, uid: account.uid, gid: account.gid, socket: socketOf(account.uid, socket) }] : [];
  });
}

/** The path of a user's Podman API socket: as configured, or where systemd has it. */
export function socketOf(uid: number, configured: string | undefined): string {
  return configured ?? `/run/user/${uid}/podman/podman.sock`;
}
