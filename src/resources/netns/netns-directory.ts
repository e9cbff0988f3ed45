import { NotYetError } from '../../errors.ts';
import { canonicalPath, makeDirectories } from '../../linux/directory.ts';
import { type Handle, openAbsoluteIfThere, openMountedBeneath } from '../../linux/handle.ts';
import { O } from '../../linux/libc.ts';
import { attach, attachBeneath, canAttachBeneath, cloneTree, unmountAt } from '../../linux/mount.ts';
import { mountStackAt } from '../../linux/mount-stack.ts';
import { isNetworkNamespace } from '../../linux/net/network-namespace.ts';
import { nameOfNamespace } from '../../linux/process.ts';
import { removeFile } from '../../linux/write-file.ts';

/** Each round does one thing of at most three. */
const MOST_ROUNDS = 4;

/**
 * Where Nomad mounts the network namespaces of its allocations, /var/run/netns/<id> (NetNSRunDir in Nomad's
 * client/lib/nsutil). Only root can write there.
 */
export class NetnsDirectory {
  /** Canonical: /var/run is a symlink to /run nearly everywhere. */
  readonly path: string;
  readonly #canAttachBeneath: boolean;

  /** @param beneath whether a mount can be put beneath another; as the kernel says unless told */
  constructor(path = '/var/run/netns', beneath = canAttachBeneath()) {
    makeDirectories(path, 0o755);
    this.path = canonicalPath(path);
    this.#canAttachBeneath = beneath;
  }

  /** The network namespace of an allocation; undefined where none is mounted (yet). Holds it while it is open. */
  open(id: string): Handle | undefined {
    const file = this.#open(id, O.RDONLY | O.NOFOLLOW);
    if (!file || isNetworkNamespace(file)) return file;
    file.close();
    return undefined;
  }

  /**
   * Puts a network namespace in the place of the one that is mounted for an allocation, so that it is the only one
   * there: Nomad unmounts once. Where the kernel can, the path is a network namespace all the time. Does what is left
   * to do: after a crash it is called again.
   * @param formerName as nameOfNamespace gives it
   * @throws NotYetError `netns_gone` where Nomad has taken it away or made another one; SyscallError
   */
  replace(id: string, formerName: string, netns: Handle, reached: (point: 'attached') => void): void {
    const name = nameOfNamespace(netns, 'net');
    for (let round = 1; round <= MOST_ROUNDS; round++) {
      using mounted = this.#open(id, O.PATH | O.NOFOLLOW);
      const stack = mounted ? namespacesAt(mounted) : [];
      if (stack.length === 1 && stack[0] === name) return;
      if (!mounted || !this.#mayBeReplaced(stack, [formerName, name])) break;
      if (stack.includes(name)) unmountAt(`${this.path}/${id}`);
      else this.#attach(id, mounted, netns);
      reached('attached');
      if (stack.length === 2 && stack[1] === name) return; // what lay over it is off
    }
    throw this.gone(id);
  }

  /** What is said where Nomad has taken the network namespace of an allocation away meanwhile: `netns_gone`. */
  gone(id: string): NotYetError {
    return new NotYetError('netns_gone', `Nomad has removed ${this.path}/${id}, or is making another one`);
  }

  /** Takes off what a crashed replace left in the place that Nomad has left. @throws SyscallError */
  clear(id: string, name: string): void {
    for (let stack = this.stack(id); stack[0] === name; stack = this.stack(id)) {
      unmountAt(`${this.path}/${id}`);
      if (stack.length === 1) removeFile(`${this.path}/${id}`);
    }
  }

  /** What is mounted for an allocation, from the one that is seen down, as nameOfNamespace has it. */
  stack(id: string): string[] {
    using mounted = this.#open(id, O.PATH | O.NOFOLLOW);
    return mounted ? namespacesAt(mounted) : [];
  }

  #attach(id: string, mounted: Handle, netns: Handle): void {
    using tree = cloneTree(netns);
    if (this.#canAttachBeneath) {
      attachBeneath(tree, mounted);
      return;
    }
    // For an instant the path is no network namespace.
    unmountAt(`${this.path}/${id}`);
    using file = this.#open(id, O.PATH | O.NOFOLLOW);
    if (file) attach(tree, file);
  }

  /** Nothing mounted is a crash between taking one off and putting one on; where that is never done it is Nomad at work. */
  #mayBeReplaced(stack: readonly string[], ours: readonly string[]): boolean {
    return stack.length === 0 ? !this.#canAttachBeneath : stack.every((one) => ours.includes(one));
  }

  #open(id: string, flags: number): Handle | undefined {
    using directory = openAbsoluteIfThere(this.path);
    return directory && openMountedBeneath(directory, id, flags);
  }
}

function namespacesAt(mounted: Handle): string[] {
  return mountStackAt(mounted).filter((root) => root.startsWith('net:['));
}
