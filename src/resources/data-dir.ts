import { dirname } from 'node:path';
import { RefusedError } from '../errors.ts';
import { entriesOf } from '../linux/directory.ts';
import { type Handle, openAbsolute, openAbsoluteIfThere, openBeneathIfThere } from '../linux/handle.ts';
import { O } from '../linux/libc.ts';
import { stat } from '../linux/stat.ts';
import { isAllocationId } from '../model/allocation.ts';

/** Where Nomad's client keeps its allocations on this host; both paths canonical (no symlink in them). */
export class DataDir {
  readonly allocDir: string;

  constructor(allocDir: string) {
    this.allocDir = allocDir;
  }

  /** The directory of an allocation, opened for reading; undefined where there is none. Close it with `using`. */
  open(id: string): Handle | undefined {
    if (!isAllocationId(id)) throw new RefusedError('bad_allocation_id', `${JSON.stringify(id)} is no allocation id`);
    using allocDir = openAbsoluteIfThere(this.allocDir);
    const directory = allocDir && openBeneathIfThere(allocDir, id, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
    if (directory && stat(directory).uid !== 0) {
      directory.close();
      throw new RefusedError('allocation_dir_owner', `${this.allocDir}/${id} is not root's; Nomad makes it as root`);
    }
    return directory;
  }

  /** Whether the directory that holds the allocations is there: Nomad makes it when it first starts. */
  exists(): boolean {
    using allocDir = openAbsoluteIfThere(this.allocDir);
    return allocDir !== undefined;
  }

  /** The ids of all allocations that have a directory here, ours or not. */
  ids(): string[] {
    using allocDir = openAbsoluteIfThere(this.allocDir, O.RDONLY | O.DIRECTORY);
    return allocDir ? entriesOf(allocDir).filter(isAllocationId) : [];
  }

  /** The directories from the root directory down to the one that holds the allocations, paths. */
  ancestors(): string[] {
    const paths = [this.allocDir];
    for (let path = this.allocDir; path !== '/'; path = dirname(path)) paths.unshift(dirname(path));
    return paths;
  }

  /** Opens one of `ancestors()` for reading. @throws SyscallError */
  openAncestor(path: string): Handle {
    return openAbsolute(path, O.RDONLY | O.DIRECTORY);
  }
}
