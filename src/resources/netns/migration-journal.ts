import { join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import { ParseError } from '../../errors.ts';
import { entriesOf, makeDirectories } from '../../linux/directory.ts';
import { type Handle, openAbsolute, openAbsoluteIfThere, openMountedBeneath } from '../../linux/handle.ts';
import { O } from '../../linux/libc.ts';
import { attach, cloneTree, unmountAt } from '../../linux/mount.ts';
import { isNetworkNamespace } from '../../linux/net/network-namespace.ts';
import { fileIsThere, readIfThere } from '../../linux/read-file.ts';
import { makeMountPoint, removeFile, renameFile, writeWhole } from '../../linux/write-file.ts';
import { isAllocationId } from '../../model/allocation.ts';
import type { CniCacheFile } from './cni-cache.ts';
import type { Network } from './network.ts';

/** A migration that was begun, and was not ended or not long ago. */
export interface Migration {
  readonly network: Network;
  /** The network namespaces, as nameOfNamespace has them: the one that Nomad made, and the user's. */
  readonly formerName: string;
  readonly name: string;
  /** What libcni remembered of the network: it forgets that when Nomad takes the network down. */
  readonly attachments: readonly CniCacheFile[];
}

const MOST_BYTES = 64 * 1024 * 1024;
/** To be counted up with every change of what a Migration holds: what another version has begun must not be taken for ours. */
const FORMAT = 1;

/**
 * Migrations under way, so that the next start finishes what a crash interrupts: `<state_dir>/netns/<id>` holds the new
 * network namespace, `<id>.migration` beside it says what the network was before its first link was moved, as v8.serialize has it.
 * It is called `<id>.ended` once the migration has ended, and stays for a while. All of it lies in /run: a reboot takes it away
 * together with the namespaces. Only root can write there.
 */
export class MigrationJournal {
  readonly #path: string;

  constructor(stateDir: string) {
    this.#path = join(stateDir, 'netns');
  }

  /** The allocations with something here. */
  ids(): string[] {
    using directory = openAbsoluteIfThere(this.#path, O.RDONLY | O.DIRECTORY);
    const names = directory ? entriesOf(directory).map((name) => name.replace(/\.(migration(\.new)?|ended)$/, '')) : [];
    return [...new Set(names)].filter(isAllocationId);
  }

  /** Writes down a migration before anything is moved. @param network as it is to be; @throws SyscallError, an Error of node:fs */
  begin(id: string, netns: Handle, record: Migration, reached: (point: 'pinned') => void): void {
    makeDirectories(this.#path, 0o700);
    makeMountPoint(this.pathOf(id));
    using file = openAbsolute(this.pathOf(id), O.PATH | O.NOFOLLOW);
    using tree = cloneTree(netns);
    attach(tree, file);
    reached('pinned');
    writeWhole(this.#recordOf(id), serialize({ format: FORMAT, record }));
  }

  /** Writes down that a migration has ended. @throws an Error of node:fs */
  markEnded(id: string): void {
    renameFile(this.#recordOf(id), this.#endedOf(id));
  }

  hasEnded(id: string): boolean {
    return fileIsThere(this.#endedOf(id));
  }

  /** The migration of an allocation that was begun; undefined where there is none. @throws ParseError */
  record(id: string): Migration | undefined {
    const path = this.hasEnded(id) ? this.#endedOf(id) : this.#recordOf(id);
    const bytes = readIfThere(path, MOST_BYTES);
    if (bytes === undefined) return undefined;
    const written = deserialized(bytes);
    if (!isOfThisFormat(written)) throw new ParseError(path, `a migration of format ${FORMAT}`, 'another, or none');
    return written.record;
  }

  /** Where the network namespace that is kept for an allocation is mounted. */
  pathOf(id: string): string {
    return join(this.#path, id);
  }

  /** The network namespace that is kept for an allocation; undefined where there is none. */
  open(id: string): Handle | undefined {
    using directory = openAbsoluteIfThere(this.#path);
    const netns = directory && openMountedBeneath(directory, id, O.RDONLY | O.NOFOLLOW);
    if (!netns || isNetworkNamespace(netns)) return netns;
    netns.close();
    return undefined;
  }

  /** Strikes a migration out: it is done, or there is nothing to be done any more. First what says that there is one. */
  end(id: string): void {
    removeFile(this.#recordOf(id));
    removeFile(`${this.#recordOf(id)}.new`);
    removeFile(this.#endedOf(id));
    unmountAt(this.pathOf(id));
    removeFile(this.pathOf(id));
  }

  #recordOf(id: string): string {
    return `${this.pathOf(id)}.migration`;
  }

  #endedOf(id: string): string {
    return `${this.pathOf(id)}.ended`;
  }
}

function deserialized(bytes: Buffer): unknown {
  try {
    return deserialize(bytes);
  } catch {
    return undefined; // no such thing
  }
}

function isOfThisFormat(written: unknown): written is { readonly record: Migration } {
  return typeof written === 'object' && written !== null && Reflect.get(written, 'format') === FORMAT;
}
