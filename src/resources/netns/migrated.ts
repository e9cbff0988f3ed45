import { entriesOf } from '../../linux/directory.ts';
import { type Handle, openAbsoluteIfThere } from '../../linux/handle.ts';
import { O } from '../../linux/libc.ts';
import { nameOfNamespace, openOwnNamespace, ownerUid, owningUserNamespace } from '../../linux/process.ts';
import { isSameFile, stat } from '../../linux/stat.ts';
import { isAllocationId } from '../../model/allocation.ts';
import { hasLinks } from './carry.ts';
import type { MigrationJournal } from './migration-journal.ts';
import type { NetnsDirectory } from './netns-directory.ts';

/**
 * The network namespaces that were migrated to users and lie where Nomad had put its own. Only root can mount something
 * there; one that belongs to a user namespace of a user's is one that we made, for Nomad's own are root's.
 */
export class MigratedNetns {
  readonly #directory: NetnsDirectory;
  readonly #journal: Pick<MigrationJournal, 'ids'>;

  constructor(directory: NetnsDirectory, journal: Pick<MigrationJournal, 'ids'>) {
    this.#directory = directory;
    this.#journal = journal;
  }

  /** The allocations that a network namespace is named for, whoever it belongs to. */
  ids(): string[] {
    using directory = openAbsoluteIfThere(this.#directory.path, O.RDONLY | O.DIRECTORY);
    return directory ? entriesOf(directory).filter(isAllocationId) : [];
  }

  pathOf(id: string): string {
    return `${this.#directory.path}/${id}`;
  }

  /** The uid of the user whom it belongs to; undefined where it is root's, or none. @throws SyscallError */
  ownerOf(id: string): number | undefined {
    using netns = this.#directory.open(id);
    return netns && usersUid(netns);
  }

  /** Whether a migration of it that was begun is not ended. */
  isBeingMigrated(id: string): boolean {
    return this.#journal.ids().includes(id);
  }

  /** Whether it has links beside lo. @throws as NetlinkSocket.dump */
  async hasLinks(id: string): Promise<boolean> {
    using netns = this.#directory.open(id);
    return netns !== undefined && (await hasLinks(netns));
  }

  /** Takes it off, and its file. Its links go with it, once nothing holds it. Not one that is root's. @throws SyscallError */
  remove(id: string): void {
    using netns = this.#directory.open(id);
    if (netns && usersUid(netns) !== undefined) this.#directory.clear(id, nameOfNamespace(netns, 'net'));
  }
}

function usersUid(netns: Handle): number | undefined {
  using owner = owningUserNamespace(netns);
  using ours = openOwnNamespace('user');
  return isSameFile(stat(owner), stat(ours)) ? undefined : ownerUid(owner);
}
