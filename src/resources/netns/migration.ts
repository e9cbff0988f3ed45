import PQueue from 'p-queue';
import type { Clock } from '../../clock.ts';
import { codeOf, ParseError, RefusedError } from '../../errors.ts';
import type { Handle } from '../../linux/handle.ts';
import type { NewNetworkNamespace } from '../../linux/net/make-network-namespace.ts';
import type { Sysctls } from '../../linux/net/sysctl.ts';
import { nameOfNamespace } from '../../linux/process.ts';
import type { PodmanOwner } from '../podman-namespaces.ts';
import { carryAddresses, carryFoundation, carryLinks, hasLinks, refuseObstacles } from './carry.ts';
import { type CniCache, type CniCacheFile, parseAttachment } from './cni-cache.ts';
import { deleteAttachment } from './cni-delete.ts';
import type { Migration, MigrationJournal } from './migration-journal.ts';
import type { NetnsDirectory } from './netns-directory.ts';
import { surveyNetwork } from './network.ts';

/** How far a migration has come: for the log, and for tests that kill the agent there. */
export type MigrationPoint =
  | 'made'
  | 'read'
  | 'founded'
  | 'pinned'
  | 'recorded'
  | 'moved'
  | 'carried'
  | 'attached'
  | 'ended';

/** What a migration works with. */
export interface MigrationOptions {
  readonly directory: NetnsDirectory;
  readonly journal: MigrationJournal;
  readonly cache: Pick<CniCache, 'read'>;
  /** Where CNI plugins lie, absolute. */
  readonly pluginDirs: readonly string[];
  readonly clock: Pick<Clock, 'sleep' | 'after'>;
  /** Told of each point that a migration reaches. */
  readonly reached?: (id: string, point: MigrationPoint) => void;
}

/**
 * Migrations of one user at a time. The kernel moves one link at a time anyway: of twenty at once each takes twice the
 * processor time, since the kernel's lock goes from one to the other between any two steps. Others have turns of their own:
 * a user can delay the verification of the user's own for seconds.
 */
const MOST_OF_A_USER = 2;

/**
 * How long what is needed to delete a network is kept after its migration, ms. The CNI plugin that Nomad has delete it may have
 * looked for the link while it was nowhere at Nomad's path, and have passed by what it has on the host for it; Nomad then
 * unmounts our network namespace. From that look to the unmounting it takes as long as two short programs.
 */
const KEPT_MS = 10_000;

/** A migration that has ended, of which what is written down is kept for a time. */
interface Kept {
  /** The user's network namespace, as nameOfNamespace has it. */
  readonly name: string;
  stop: () => void;
}

/**
 * Replaces the network namespace of an allocation by one that is made in a user's user namespace and gets everything that
 * the old one had. Until the first link is moved a crash loses nothing; from then on the journal says what is to be done.
 */
export class NetnsMigration {
  readonly #options: MigrationOptions;
  readonly #turns = new Map<number, PQueue>();
  readonly #kept = new Map<string, Kept>();

  constructor(options: MigrationOptions) {
    this.#options = options;
  }

  /**
   * From the beginning to the end, when the user has a turn.
   * @param former closed once the user has no migration left: the kernel takes down what is closed then in one go, while it
   *   holds the lock that each of the others needs
   * @param take gives the network namespace that takes its place
   * @throws RefusedError `network_not_carriable` that names what cannot be carried; NotYetError; SyscallError
   */
  begin(id: string, former: Handle, owner: PodmanOwner, take: () => Promise<NewNetworkNamespace>): Promise<void> {
    const turns = this.#turns.get(owner.uid) ?? new PQueue({ concurrency: MOST_OF_A_USER });
    this.#turns.set(owner.uid, turns);
    const done = turns.add(() => this.#begin(id, former, owner, take));
    void turns.onIdle().then(() => former.close());
    return done;
  }

  async #begin(
    id: string,
    former: Handle,
    owner: PodmanOwner,
    take: () => Promise<NewNetworkNamespace>,
  ): Promise<void> {
    const { journal, cache } = this.#options;
    const made = await take();
    using netns = made.netns;
    this.#reached(id, 'made');
    const { network, obstacles } = await surveyNetwork(former);
    refuseObstacles(obstacles, id, owner.name);
    this.#reached(id, 'read');
    refuseObstacles(await carryFoundation(network, netns), id, owner.name);
    this.#reached(id, 'founded');
    const names = { formerName: nameOfNamespace(former, 'net'), name: nameOfNamespace(netns, 'net') };
    const record = { network, ...names, attachments: readIfSound(cache, id) };
    if (journal.ids().includes(id)) {
      // What is kept of the last one: the user's Podman has another user namespace since.
      this.#forget(id);
      journal.end(id);
    }
    journal.begin(id, netns, record, (point) => this.#reached(id, point));
    this.#reached(id, 'recorded');
    refuseObstacles(await this.#finish(id, record, netns, made.sysctls), id, owner.name);
  }

  /**
   * What there is to do about a migration that was begun: it was interrupted, or it has ended and what is written down is kept
   * no longer, or Nomad has taken away the network namespace that it ended with. Undefined where there is nothing.
   */
  left(id: string): 'interrupted' | 'ended' | undefined {
    const { journal } = this.#options;
    if (!journal.ids().includes(id) || this.#isInPlace(id)) return undefined;
    return journal.hasEnded(id) ? 'ended' : 'interrupted';
  }

  /** After a crash: finishes what has begun to move; begins anew otherwise, since Nomad may have made the network anew. */
  async resume(id: string, owner: Pick<PodmanOwner, 'name'>): Promise<void> {
    const { directory, journal } = this.#options;
    this.#forget(id);
    const record = journal.record(id);
    using netns = journal.open(id);
    if (journal.hasEnded(id)) {
      // What its plugins have on the host for the link is deleted once the allocation is over. What lies there now is not ours.
      if (directory.stack(id).length === 0 && netns && (await hasLinks(netns))) throw directory.gone(id);
      return journal.end(id);
    }
    const isReplaced = record !== undefined && directory.stack(id)[0] === record.name;
    if (record && !netns && !isReplaced) throw lost(id);
    if (record && netns && !isReplaced && (await hasLinks(netns))) {
      refuseObstacles(await this.#finish(id, record, netns), id, owner.name);
    } else journal.end(id);
  }

  /**
   * From what is written down to the end, wherever it stands.
   * @returns what cannot be carried, in words: then all is as it was before
   */
  async #finish(id: string, record: Migration, netns: Handle, sysctls?: Sysctls): Promise<string[]> {
    const { directory, journal, clock } = this.#options;
    using former = directory.open(id);
    try {
      const moved = () => this.#reached(id, 'moved');
      const obstacles = await carryLinks(record.network, former, netns, { clock, moved, sysctls });
      if (obstacles.length > 0) {
        journal.end(id);
        return obstacles;
      }
      this.#reached(id, 'carried');
      directory.replace(id, record.formerName, netns, (point) => this.#reached(id, point));
    } catch (error) {
      // Nomad has made another network: what was carried is of no use any more. Where it has only taken this one down it
      // found no link: what its plugins have on the host for it is deleted once the allocation is over.
      if (codeOf(error) === 'network_replaced') journal.end(id);
      throw error;
    }
    journal.markEnded(id);
    this.#keep(id, record.name);
    this.#reached(id, 'ended');
    return [];
  }

  #keep(id: string, name: string): void {
    const kept: Kept = { name, stop: () => undefined };
    this.#kept.set(id, kept);
    kept.stop = this.#options.clock.after(KEPT_MS, () => this.#letGo(id));
  }

  /** Where Nomad has taken the network namespace away, what is written down stays for the pass that this causes. */
  #letGo(id: string): void {
    try {
      if (this.#isInPlace(id)) this.#options.journal.end(id);
    } catch {
      // The next pass tries it again, and tells why that cannot be.
    } finally {
      this.#forget(id);
    }
  }

  #isInPlace(id: string): boolean {
    const kept = this.#kept.get(id);
    using netns = kept && this.#options.directory.open(id);
    return netns !== undefined && nameOfNamespace(netns, 'net') === kept?.name;
  }

  #forget(id: string): void {
    this.#kept.get(id)?.stop();
    this.#kept.delete(id);
  }

  /** Lets go of what is kept of migrations that have ended. */
  close(): void {
    for (const id of [...this.#kept.keys()]) this.#letGo(id);
  }

  /**
   * Takes away what a crash left of a migration whose allocation needs it no more, also what CNI plugins have on the host for links that
   * Nomad did not find: it may have taken the network down already. Doing that twice does no harm.
   * @param isTornDown whether Nomad has taken away all that it had of the allocation
   * @throws as deleteAttachment and CniCache.read
   */
  async discard(id: string, isTornDown: boolean): Promise<void> {
    const { directory, journal } = this.#options;
    this.#forget(id);
    const record = journal.record(id);
    if (record && !isTornDown && this.#isForNomad(id, record)) return journal.end(id);
    using netns = journal.open(id);
    if (record && netns && (await hasLinks(netns))) await this.#delete(id, record, netns);
    if (record && isTornDown) directory.clear(id, record.name);
    // Nomad will unmount once.
    else if (record && netns && directory.stack(id).length > 1) {
      directory.replace(id, record.formerName, netns, (point) => this.#reached(id, point));
    }
    journal.end(id);
  }

  /**
   * Whether a network is Nomad's to delete: the migration had ended, and Nomad has not had the plugins delete it yet, which will
   * find its link; or Nomad has made another one, and what the plugins delete they delete by the allocation's ID.
   */
  #isForNomad(id: string, { name, formerName, attachments }: Migration): boolean {
    const { directory, journal, cache } = this.#options;
    const stack = directory.stack(id);
    if (stack[0] === name && cache.read(id).length >= attachments.length) return true;
    const ours = journal.hasEnded(id) ? [name] : [name, formerName];
    return stack.some((one) => !ours.includes(one));
  }

  /** The kernel takes the addresses off links that it moves, and by these the plugins know their packet filters. */
  async #delete(id: string, { network, attachments }: Migration, netns: Handle): Promise<void> {
    const { journal, pluginDirs } = this.#options;
    await carryAddresses(network, netns);
    for (const one of attachments) {
      await deleteAttachment({ ...parseAttachment(one, id), netns: journal.pathOf(id) }, id, pluginDirs);
    }
  }

  #reached(id: string, point: MigrationPoint): void {
    this.#options.reached?.(id, point);
  }
}

/** What is amiss with the cache keeps nobody from a network; the look for ghosts tells of it. */
function readIfSound(cache: MigrationOptions['cache'], id: string): CniCacheFile[] {
  try {
    return cache.read(id);
  } catch (error) {
    if (error instanceof RefusedError || error instanceof ParseError) return [];
    throw error;
  }
}

function lost(id: string): RefusedError {
  const message = `the network of allocation ${id} was lost during its migration, because the mount that held it was unmounted; restart the allocation`;
  return new RefusedError('network_lost', message);
}
