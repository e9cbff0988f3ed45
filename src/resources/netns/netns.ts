import { NotYetError, RefusedError } from '../../errors.ts';
import { type Handle, openCached } from '../../linux/handle.ts';
import { O } from '../../linux/libc.ts';
import { inMountNamespace } from '../../linux/mount-namespace.ts';
import { openOwnNamespace, ownerUid, owningUserNamespace, pidsIn } from '../../linux/process.ts';
import { isSameFile, stat } from '../../linux/stat.ts';
import type { Access, Desired, DesiredNetns } from '../../model/desired.ts';
import type { DataDir } from '../data-dir.ts';
import { ownerOf, type PodmanNamespaces, type PodmanOwner } from '../podman-namespaces.ts';
import type { PodmanNamespace } from '../podman-process.ts';
import type { Resource, Step } from '../resource.ts';
import { type MigrationOptions, NetnsMigration } from './migration.ts';
import type { SpareNamespaces } from './spare-namespaces.ts';
import { taskSetUp } from './task-set-up.ts';

/** In that time Nomad has set a task up: without a gate, a container is created. */
const SET_UP_POLL_MS = 20;

/** What the resource works with. */
export interface NetnsOptions extends MigrationOptions {
  readonly dataDir: DataDir;
  readonly namespaces: PodmanNamespaces;
  readonly spares: Pick<SpareNamespaces, 'take' | 'keep'>;
  /** The users that have a gate. */
  readonly owners: () => readonly PodmanOwner[];
  /**
   * How it is known that Nomad has finished a network. With either, Nomad has begun with a task, which it does only then.
   * With `gate`, where that cannot be told, a container is held that joins it: the driver creates one only then. With
   * `watch` it is a race with the driver all the same.
   */
  readonly ordering: 'gate' | 'watch';
}

/** Whose a network namespace is: root's, the user's Podman's, that of a Podman of the user's that is no more, or somebody else's. */
type Ownership = 'root' | 'current' | 'former' | 'foreign';

/**
 * The network namespace of an allocation belongs to the user namespace of its user's Podman: only then may a rootless
 * container join it. A namespace keeps its owner for life, so the one that Nomad made is replaced by one that is made in
 * the user's, which gets everything that the old one had: links, addresses, routes, rules, neighbours, packet filters,
 * kernel parameters.
 *
 * The user then has root's power in that network namespace, and nowhere else: she can change the addresses of her own
 * allocation and see its traffic. What would give her more (devices of the hardware) is refused.
 */
export class NetnsResource implements Resource {
  readonly kind = 'netns';
  readonly #options: NetnsOptions;
  readonly #migration: NetnsMigration;
  readonly #owned = new Set<string>();
  /** The allocations that are still to take a spare network namespace, with the uid of the user. */
  readonly #coming = new Map<string, number>();

  constructor(options: NetnsOptions) {
    this.#options = options;
    this.#migration = new NetnsMigration(options);
  }

  async plan(desired: Desired): Promise<Step[]> {
    if (desired.kind !== 'access' || !desired.netns) this.#coming.delete(desired.id);
    if (desired.kind === 'refused') return [];
    if (desired.kind === 'nothing' || !desired.netns) {
      this.#owned.delete(desired.id);
      return this.#planRemoval(desired);
    }
    const [user] = desired.podman;
    if (!user) return [];
    const owner = ownerOf(this.#options.owners(), user.uid);
    const { id } = desired;
    const left = this.#migration.left(id);
    if (left) {
      const what =
        left === 'ended' ? released(id) : `finished the interrupted migration of the network namespace of ${id}`;
      return [this.#step(what, () => this.#migration.resume(id, owner))];
    }
    const [namespace] = await this.#options.namespaces.of(owner);
    using current = this.#options.directory.open(id);
    this.#owned.delete(id);
    const ownership = current && ownershipOf(current, namespace.user, user.uid);
    if (ownership === 'current') this.#coming.delete(id);
    else this.#coming.set(id, user.uid);
    const coming = [...this.#coming.values()].filter((uid) => uid === user.uid).length;
    this.#options.spares.keep(owner, namespace.user, coming);
    if (!current) {
      if (this.#isExpected(desired)) throw this.#notUp(id, 'is not there');
      return [];
    }
    switch (ownership) {
      case 'current':
        this.#checkView(id, current, namespace, user);
        this.#owned.add(id);
        return [];
      case 'foreign':
        throw foreign(id, current, user);
      case 'former':
        await refuseWhileInUse(current, user);
        break;
      case 'root':
        if (!this.#isFinished(desired, desired.netns, current)) return [];
    }
    const what = `migrated the network namespace of ${id} to ${user.name}'s Podman`;
    return [this.#step(what, () => this.#replace(id, owner, namespace.user))];
  }

  /** Whether the network namespace of an allocation belonged to its user when it was last looked at. */
  isOwned(id: string): boolean {
    return this.#owned.has(id);
  }

  /** Whether a pass has something to do about an allocation whose network namespace has gone. */
  isLeft(id: string): boolean {
    return this.#migration.left(id) !== undefined;
  }

  /** The ids of allocations of whose migration something is written down. */
  allocationIds(): string[] {
    return this.#options.journal.ids();
  }

  /** Lets go of what is kept of migrations that have ended. */
  close(): void {
    this.#migration.close();
  }

  #step(what: string, apply: () => Promise<void>): Step {
    return { kind: this.kind, what, removes: false, apply };
  }

  #planRemoval({ id }: Desired): Step[] {
    const left = this.#migration.left(id);
    if (!left) return [];
    const what = left === 'ended' ? released(id) : `removed the unfinished network namespace of ${id}`;
    return [{ kind: this.kind, what, removes: true, apply: () => this.#discard(id) }];
  }

  async #discard(id: string): Promise<void> {
    using allocation = this.#options.dataDir.open(id);
    await this.#migration.discard(id, allocation === undefined);
  }

  async #replace(id: string, owner: PodmanOwner, userNamespace: Handle): Promise<void> {
    const former = this.#options.directory.open(id);
    if (!former) throw this.#notUp(id, 'is not there');
    await this.#migration.begin(id, former, owner, () => {
      this.#coming.delete(id);
      return this.#options.spares.take(owner, userNamespace);
    });
  }

  /**
   * Whether Nomad has finished the network, so that it can be taken out of its hands: not while a CNI plugin is at work.
   * @throws NotYetError while Nomad sets a task up
   */
  #isFinished({ id, tasks }: Desired & { kind: 'access' }, desired: DesiredNetns, netns: Handle): boolean {
    const isByGate = this.#options.ordering === 'gate';
    if (isByGate && (desired.isAwaited || !desired.isJoined)) return desired.isAwaited;
    using allocation = this.#options.dataDir.open(id);
    const setUp = allocation ? taskSetUp(allocation, tasks, netns) : 'none';
    if (setUp === 'after' || (setUp === 'before' && !isByGate)) return true;
    if (setUp === 'begun' || !isByGate) throw this.#notUp(id, 'is not finished', SET_UP_POLL_MS);
    return false;
  }

  /** Whether a network that is not there will come: it is taken down before Nomad says that the allocation has ended. */
  #isExpected({ id, tasks, netns }: Desired & { kind: 'access' }): boolean {
    if (this.#options.ordering === 'gate') return netns?.isAwaited === true;
    using allocation = this.#options.dataDir.open(id);
    return !allocation || ['none', 'begun'].includes(taskSetUp(allocation, tasks));
  }

  /** Where mounts do not propagate, the user's Podman sees another file at the path than the host. */
  #checkView(id: string, netns: Handle, { mount }: PodmanNamespace, user: Access): void {
    const path = `${this.#options.directory.path}/${id}`;
    const expected = stat(netns);
    const isSeen = inMountNamespace(mount, () => {
      using seen = openCached(path, O.PATH | O.NOFOLLOW);
      return seen !== undefined && isSameFile(stat(seen), expected);
    });
    if (isSeen) return;
    const remedy = `mount --make-rshared / as root, then restart ${user.name}'s Podman with: podman system migrate`;
    throw new NotYetError('netns_hidden', `${user.name}'s Podman does not see the host's ${path}; ${remedy}`);
  }

  #notUp(id: string, why: string, retryInMs?: number): NotYetError {
    const message = `the network namespace ${this.#options.directory.path}/${id} of the allocation ${why}`;
    return new NotYetError('network_not_up', message, undefined, retryInMs);
  }
}

function released(id: string): string {
  return `released what was kept of the migration of the network namespace of ${id}`;
}

function ownershipOf(netns: Handle, userNamespace: Handle, uid: number): Ownership {
  using owner = owningUserNamespace(netns);
  using ours = openOwnNamespace('user');
  if (isSameFile(stat(owner), stat(userNamespace))) return 'current';
  if (isSameFile(stat(owner), stat(ours))) return 'root';
  return ownerUid(owner) === uid ? 'former' : 'foreign';
}

/** A process keeps the network namespace that it is in: another one at the path would cut it off from its allocation. */
async function refuseWhileInUse(netns: Handle, user: Access): Promise<void> {
  const [pid, ...others] = await pidsIn(netns, 'net');
  if (pid === undefined) return;
  const message = `${user.name}'s Podman was restarted, and the allocation's network belongs to the one before, of which process ${pid}${others.length > 0 ? ` and ${others.length} others` : ''} still runs; it is migrated again once they have ended: restart the allocation`;
  throw new NotYetError('netns_in_use', message);
}

function foreign(id: string, netns: Handle, user: Access): RefusedError {
  const message = `the network namespace ${netns.path} of allocation ${id} belongs neither to root nor to ${user.name}; stop the allocation`;
  return new RefusedError('foreign_netns', message);
}
