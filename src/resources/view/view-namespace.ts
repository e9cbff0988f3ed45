import { join } from 'node:path';
import { failedWith, NotYetError } from '../../errors.ts';
import { onEachCpu } from '../../linux/affinity.ts';
import { makeDirectories } from '../../linux/directory.ts';
import { type Handle, openAbsolute, openAbsoluteIfThere, openMountedBeneath } from '../../linux/handle.ts';
import { O } from '../../linux/libc.ts';
import {
  attach,
  cloneMount,
  makeFile,
  newTmpfs,
  PROPAGATION,
  removeDirectory,
  setMountAttributes,
  unmountIn,
} from '../../linux/mount.ts';
import { inMountNamespace, makeMountNamespace } from '../../linux/mount-namespace.ts';
import { stat } from '../../linux/stat.ts';

/** The directory in the state dir on which a tmpfs is mounted, and the file in there on which the namespace is. */
const DIRECTORY = 'view';
const PIN = 'namespace';

/** Directories and a note for each user; nothing else is ever written there. */
const ROOT_TMPFS = { size: '1m', nr_inodes: '4096', mode: '0700' };
const PIN_TMPFS = { size: '4k', nr_inodes: '4', mode: '0700' };

/**
 * The mount namespace in which the users' trees are put together: root's, and empty but for them. No process lives in it. A
 * mount of it at `<state_dir>/view/namespace` keeps it for the next agent, also where this one is killed; the host's table
 * of mounts, which systemd reads at each change and of which every new mount namespace gets a copy, holds no more than that.
 */
export class ViewNamespace {
  readonly #stateDir: string;
  #known: Handle | undefined;

  constructor(stateDir: string) {
    this.#stateDir = stateDir;
  }

  /** Runs a block in it, synchronously; undefined where there is none. @throws SyscallError, and what the block throws */
  enter<T>(block: () => T): T | undefined {
    const namespace = this.#find();
    return namespace && inMountNamespace(namespace, block);
  }

  /** Makes it where there is none. @throws SyscallError */
  make(): void {
    if (this.#find()) return;
    const path = join(this.#stateDir, DIRECTORY);
    makeDirectories(path, 0o700);
    this.#removePin();
    using directory = openAbsolute(path);
    using tmpfs = newTmpfs(PIN_TMPFS);
    attach(tmpfs, directory);
    // The kernel mounts no mount namespace where that would be passed on to other mount namespaces.
    setMountAttributes(tmpfs, 0, PROPAGATION.PRIVATE);
    makeFile(tmpfs, PIN);
    using pin = openAbsolute(join(path, PIN), O.PATH);
    if (this.#makeAt(pin) || onEachCpu(() => this.#makeAt(pin))) return;
    const remedy = 'run the agent in the mount namespace of the host';
    throw new NotYetError('view_not_kept', `the kernel does not let ${path}/${PIN} keep a mount namespace; ${remedy}`);
  }

  /** Lets it go: it ends, and what is mounted in it alone with it. */
  remove(): void {
    this.close();
    using stateDir = openAbsoluteIfThere(this.#stateDir);
    if (!stateDir) return;
    this.#removePin();
    removeDirectory(stateDir, DIRECTORY);
  }

  close(): void {
    this.#known?.close();
    this.#known = undefined;
  }

  /**
   * The kernel mounts a mount namespace only in one that is older, and tells their age by their ids. Linux 6.18 gives these
   * out in batches for each CPU, so that one which is made now can seem older than ours, unless ours is the initial one.
   */
  #makeAt(pin: Handle): boolean {
    const namespace = makeMountNamespace(ROOT_TMPFS);
    try {
      using clone = cloneMount(namespace);
      attach(clone, pin);
      this.#known = namespace;
      return true;
    } catch (error) {
      namespace.close();
      if (failedWith(error, 'ELOOP')) return false;
      throw error;
    }
  }

  #removePin(): void {
    using directory = openAbsoluteIfThere(join(this.#stateDir, DIRECTORY));
    if (directory) unmountIn(directory, PIN);
    using stateDir = openAbsoluteIfThere(this.#stateDir);
    if (stateDir) unmountIn(stateDir, DIRECTORY);
  }

  #find(): Handle | undefined {
    if (this.#known) return this.#known;
    using directory = openAbsoluteIfThere(join(this.#stateDir, DIRECTORY));
    const pin = directory && openMountedBeneath(directory, PIN, O.RDONLY | O.NOFOLLOW);
    if (!pin || !directory) return undefined;
    // A kill can have left the file without the mount on it.
    if (stat(pin).dev !== stat(directory).dev) this.#known = pin;
    else pin.close();
    return this.#known;
  }
}
