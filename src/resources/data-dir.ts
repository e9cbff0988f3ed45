import { dirname } from 'node:path';
import { RefusedError } from '../errors.ts';
import { entriesOf } from '../linux/directory.ts';
import { type Handle, openAbsolute, openAbsoluteIfThere, openBeneathIfThere } from '../linux/handle.ts';
import { O } from '../linux/libc.ts';
import { stat } from '../linux/stat.ts';
import { MAY, permissionsOf } from '../model/acl.ts';
import { isAllocationId } from '../model/allocation.ts';
import { readAcl } from './marked-acl.ts';

/** Where Nomad's client keeps its allocations on this host; both paths canonical (no symlink in them). */
export class DataDir {
  readonly allocDir: string;
  readonly #dataDir: string;

  /** @param dataDir may be elsewhere than the directory of the allocations */
  constructor(allocDir: string, dataDir: string) {
    this.allocDir = allocDir;
    this.#dataDir = dataDir;
  }

  /** The directory of an allocation, opened for reading; undefined where there is none. Close it with `using`. */
  open(id: string): Handle | undefined {
    if (!isAllocationId(id))
      throw new RefusedError('bad_allocation_id', `${JSON.stringify(id)} is not an allocation id`);
    using allocDir = openAbsoluteIfThere(this.allocDir);
    const directory = allocDir && openBeneathIfThere(allocDir, id, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
    if (directory && stat(directory).uid !== 0) {
      directory.close();
      throw new RefusedError('allocation_dir_owner', `${this.allocDir}/${id} is not root's; Nomad makes it as root`);
    }
    return directory;
  }

  /** The ids of all allocations that have a directory here, ours or not. */
  ids(): string[] {
    using allocDir = openAbsoluteIfThere(this.allocDir, O.RDONLY | O.DIRECTORY);
    return allocDir ? entriesOf(allocDir).filter(isAllocationId) : [];
  }

  /**
   * The directory over which a user's Podman sees what is shown to her: the first one on the way to the allocations that she
   * cannot enter, or else the data dir, however open it is.
   */
  overmountFor(uid: number): string {
    const ancestors = [...ancestorsOf(this.allocDir), this.allocDir];
    const shut = ancestors.find((path) => {
      using directory = openAbsolute(path, O.RDONLY | O.DIRECTORY);
      return (permissionsOf(readAcl(directory), uid) & MAY.execute) === 0;
    });
    return shut ?? (ancestors.includes(this.#dataDir) ? this.#dataDir : this.allocDir);
  }

  /** Whether nobody but root can come to what lies in a directory: it, or one above it, lets nobody else in. @throws SyscallError */
  isRootOnly(path: string = this.allocDir): boolean {
    return [path, ...ancestorsOf(path)].some((path) => {
      using directory = openAbsolute(path, O.RDONLY | O.DIRECTORY);
      const { group, groups, users, mask, other } = readAcl(directory);
      const { uid, gid } = stat(directory);
      const named = [...users.values(), ...groups.values()].map((bits) => bits & (mask ?? 7));
      const bits = [other, ...named, ...(gid === 0 ? [] : [group & (mask ?? 7)])];
      return uid === 0 && bits.every((one) => (one & MAY.execute) === 0);
    });
  }
}

/** The directories above a path, from the root directory down. */
function ancestorsOf(path: string): string[] {
  return path === '/' ? [] : [...ancestorsOf(dirname(path)), dirname(path)];
}
