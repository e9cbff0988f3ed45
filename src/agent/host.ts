import type { Clock } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { NotYetError } from '../errors.ts';
import { canonicalDirectory } from '../linux/directory.ts';
import { isSelinuxOn } from '../linux/selinux.ts';
import type { ClientPaths } from '../nomad/agent-self.ts';
import type { PodmanUser } from '../podman/connect.ts';
import type { HostUser } from '../reconcile/host-user.ts';
import { AllocationAclResource } from '../resources/allocation-acl.ts';
import { DataDir } from '../resources/data-dir.ts';
import { LogFifoResource } from '../resources/log-fifo.ts';
import { CniCache } from '../resources/netns/cni-cache.ts';
import { MigratedNetns } from '../resources/netns/migrated.ts';
import { MigrationJournal } from '../resources/netns/migration-journal.ts';
import { type NetnsOptions, NetnsResource } from '../resources/netns/netns.ts';
import { NetnsDirectory } from '../resources/netns/netns-directory.ts';
import { SpareNamespaces } from '../resources/netns/spare-namespaces.ts';
import { PodmanNamespaces, type PodmanOwner } from '../resources/podman-namespaces.ts';
import type { NodeResource, Resource, UserResource } from '../resources/resource.ts';
import { TreeRemoval } from '../resources/view/tree-removal.ts';
import { UserTrees } from '../resources/view/user-trees.ts';
import { ViewResource } from '../resources/view/view.ts';
import { ViewMounts } from '../resources/view/view-mounts.ts';
import { ViewNamespace } from '../resources/view/view-namespace.ts';
import { VolumeViewResource } from '../resources/view/volume-view.ts';
import { VolumeAclResource } from '../resources/volume-acl.ts';
import { VolumeDirectories } from '../resources/volume-directories.ts';

/** What an allocation gets on this host, and where its traces are. */
export interface Host {
  readonly allocDir: string;
  readonly isSelinuxOn: boolean;
  /** What each allocation has for itself. */
  readonly resources: readonly Resource[];
  /** What the allocations of a user have together; in this order. */
  readonly userResources: readonly UserResource[];
  /** What is there for no allocation. */
  readonly nodeResources: readonly NodeResource[];
  /** Where Nomad mounts the network namespaces of its allocations. */
  readonly netnsDir: string;
  /** The uids that the tasks of an allocation have been prepared for, by task. */
  grantedOn(id: string): ReadonlyMap<string, number>;
  /** Whether the network namespace of an allocation belongs to its user, as far as was last seen. */
  isNetnsOwned(id: string): boolean;
  /** Whether a pass has something to do about an allocation whose network namespace has gone. */
  isNetnsLeft(id: string): boolean;
  /** The allocations that may have something of ours: with a directory, with a place in a tree, with a netns half made. */
  allocationIds(): string[];
  /** Whether Nomad's directory of an allocation is there. */
  hasDirectory(id: string): boolean;
  /** What of this host keeps allocations from all that they could have, in words. */
  warnings(): string[];
  /** The users with a gate, as far as their accounts are there. @throws RootlessError (code nss) */
  podmanUsers(): readonly PodmanUser[];
  /** The network namespaces that were migrated to users. */
  readonly migratedNetns: Pick<MigratedNetns, keyof MigratedNetns>;
  close(): void;
}

/** What makeHost works with. `accountOf` is what is known of a user now. */
export interface HostOptions {
  readonly config: Pick<Config, 'idmap' | 'ordering' | 'stateDir' | 'users' | 'volumes'>;
  readonly paths: ClientPaths;
  readonly accountOf: (name: string) => HostUser | undefined;
  readonly clock: Clock;
  /** Told of each point that the migration of a netns reaches. */
  readonly onMigration?: NonNullable<NetnsOptions['reached']>;
}

/** Creates are held for a directory that Nomad is about to make: looking costs nothing. */
const DIRECTORY_RETRY_MS = 2000;

/** Of a user's allocations: with more than these, those whose containers have been started are shown no longer. */
const MOST_SHOWN = 64;

/** Puts the resources together. @throws NotYetError `no_alloc_dir` where Nomad's directories are not there */
export function makeHost({ config, paths, accountOf, clock, onMigration }: HostOptions): Host {
  const { idmap, ordering, stateDir } = config;
  const dataDir = new DataDir(directoryOfNomad(paths.allocDir, 'alloc'), directoryOfNomad(paths.dataDir, 'data'));
  const namespaces = new PodmanNamespaces(clock);
  const namespace = new ViewNamespace(stateDir);
  const trees = new UserTrees(namespace);
  const mounts = new ViewMounts({ dataDir, namespace, trees, namespaces });
  const owners = (): readonly PodmanOwner[] => podmanUsersIn(config.users, accountOf);
  const acl = new AllocationAclResource(dataDir);
  const selinux = isSelinuxOn();
  const view = new ViewResource({
    dataDir,
    mounts,
    trees,
    namespaces,
    owners,
    idmap,
    ordering,
    mostShown: MOST_SHOWN,
    isSelinuxOn: selinux,
  });
  const logFifo = new LogFifoResource(dataDir);
  const directory = new NetnsDirectory();
  const journal = new MigrationJournal(stateDir);
  const spares = new SpareNamespaces(clock);
  const netns = new NetnsResource({
    dataDir,
    directory,
    journal,
    spares,
    cache: new CniCache(),
    pluginDirs: paths.cniPath,
    namespaces,
    owners,
    clock,
    ordering,
    ...(onMigration ? { reached: onMigration } : {}),
  });
  const directories = new VolumeDirectories(paths);
  const volumeAcl = new VolumeAclResource(directories, config.volumes === 'acl');
  const volumeView = new VolumeViewResource({
    ...{ dataDir, directories, mounts, trees, namespaces, owners },
    rights: config.volumes,
    isSelinuxOn: selinux,
  });
  return {
    allocDir: dataDir.allocDir,
    isSelinuxOn: selinux,
    resources: [acl, view, logFifo, netns],
    // Rights before the way to what they are on; the tree when nothing is in it any more.
    userResources: [volumeAcl, volumeView, new TreeRemoval({ trees, mounts, owners })],
    nodeResources: [{ kind: 'netns', plan: () => spares.planSweep() }],
    netnsDir: directory.path,
    grantedOn: (id) => view.granted(id),
    isNetnsOwned: (id) => netns.isOwned(id),
    isNetnsLeft: (id) => netns.isLeft(id),
    allocationIds: () => [...new Set([...dataDir.ids(), ...view.allocationIds(), ...netns.allocationIds()])],
    hasDirectory: (id) => {
      using allocation = dataDir.open(id);
      return allocation !== undefined;
    },
    warnings: () => view.warnings(),
    podmanUsers: () => podmanUsersIn(config.users, accountOf),
    migratedNetns: new MigratedNetns(directory, journal),
    close: () => {
      netns.close();
      spares.close();
      namespaces.close();
      trees.close();
      namespace.close();
    },
  };
}

/** Nomad makes them when it starts; a wrong path in the configuration, or Nomad that is not there yet, is mended in time. */
function directoryOfNomad(path: string, what: 'alloc' | 'data'): string {
  try {
    return canonicalDirectory(path);
  } catch (error) {
    const remedy = 'start Nomad, or correct nomad.data_dir and nomad.alloc_dir';
    const message = `Nomad's ${what} dir ${path} cannot be used; ${remedy}`;
    throw new NotYetError('no_alloc_dir', message, error, DIRECTORY_RETRY_MS);
  }
}

function podmanUsersIn(users: Config['users'], accountOf: HostOptions['accountOf']): PodmanUser[] {
  return [...users].flatMap(([name, { socket }]) => {
    const account = accountOf(name);
    return account ? [{ ...account, name, socket: socketOf(account.uid, socket) }] : [];
  });
}

/** The path of a user's Podman API socket: as configured, or where systemd has it. */
export function socketOf(uid: number, configured: string | undefined): string {
  return configured ?? `/run/user/${uid}/podman/podman.sock`;
}
