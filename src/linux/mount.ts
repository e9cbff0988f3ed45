import { failedWith } from '../errors.ts';
import { Handle } from './handle.ts';
import {
  AT,
  closeFd,
  fchdir,
  fsconfig,
  fsmount,
  fsopen,
  mkdirat,
  mountSetattrCall,
  moveMountCall,
  O,
  openNew,
  openTreeCall,
  umount2,
  unlinkat,
} from './libc.ts';

/** include/uapi/linux/mount.h. */
const OPEN_TREE_CLONE = 1;
const OPEN_TREE_CLOEXEC = 0o2000000;
const MOVE_MOUNT_F_EMPTY_PATH = 0x04;
const MOVE_MOUNT_T_EMPTY_PATH = 0x40;
const MOVE_MOUNT_BENEATH = 0x200;
const FSCONFIG = { SET_STRING: 1, CMD_CREATE: 6 } as const;
const CLOEXEC = 1;
/** Unmount now for those who look, and for good once nobody uses it any more, umount2(2). */
export const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;

/** Attributes of a mount, MOUNT_ATTR_* of include/uapi/linux/mount.h. */
export const ATTRIBUTE = {
  RDONLY: 0x01,
  NOSUID: 0x02,
  NODEV: 0x04,
  NOEXEC: 0x08,
  IDMAP: 0x100000,
  NOSYMFOLLOW: 0x200000,
} as const;
/** Propagation of a mount, MS_* of include/uapi/linux/mount.h; UNCHANGED leaves it as it is. */
export const PROPAGATION = { UNCHANGED: 0, PRIVATE: 1 << 18, SLAVE: 1 << 19, SHARED: 1 << 20 } as const;

/** sizeof(struct mount_attr), MOUNT_ATTR_SIZE_VER0: attr_set, attr_clr, propagation, userns_fd, each __u64. */
export const MOUNT_ATTR_SIZE = 32;

/**
 * A detached copy of the tree of mounts at an open file. It vanishes with the handle unless it is moved somewhere. Without
 * setMountAttributes the copy stays in the peer group of the original. The original has to be in the current mount namespace.
 * @throws SyscallError
 */
export function cloneTree(file: Handle): Handle {
  return openTree(file, AT.RECURSIVE | AT.EMPTY_PATH);
}

/** Like cloneTree, without what is mounted below. @throws SyscallError */
export function cloneMount(file: Handle): Handle {
  return openTree(file, AT.EMPTY_PATH);
}

/**
 * Like cloneMount, of what is mounted at a name in an open directory, or has that name. The mount itself is not opened, so that
 * whoever mounted it can unmount it: the copy keeps the filesystem, not the mount.
 * @param name one component; of a symlink it is a copy that leads nowhere
 * @throws SyscallError
 */
export function cloneMountIn(directory: Handle, name: string): Handle {
  return openTree(directory, AT.SYMLINK_NOFOLLOW | AT.NO_AUTOMOUNT, name);
}

/** Like cloneMountIn, with what is mounted below. @throws SyscallError */
export function cloneTreeIn(directory: Handle, name: string): Handle {
  return openTree(directory, AT.RECURSIVE | AT.SYMLINK_NOFOLLOW | AT.NO_AUTOMOUNT, name);
}

function openTree(file: Handle, flags: number, name = ''): Handle {
  const path = name === '' ? file.path : `${file.path}/${name}`;
  return new Handle(openTreeCall(path, file.fd, name, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags), path);
}

/**
 * Sets attributes and propagation of a whole tree of mounts. Unless NOSYMFOLLOW is among them symlinks are followed in it, also
 * where an operator has taken that from the processes of the host.
 * @throws SyscallError
 */
export function setMountAttributes(tree: Handle, attributes: number, propagation: number): void {
  setAttributes(tree, AT.RECURSIVE, attributes, propagation, 0n);
}

/**
 * Has a detached mount show ids as those of a user namespace: what lies on disk as id 0 is seen as its id 0
 * (MOUNT_ATTR_IDMAP, Linux 5.12; not all filesystems can).
 * @throws SyscallError (EINVAL where the filesystem cannot)
 */
export function mapIds(mount: Handle, userNamespace: Handle): void {
  setAttributes(mount, 0, ATTRIBUTE.IDMAP, PROPAGATION.UNCHANGED, BigInt(userNamespace.fd));
}

function setAttributes(tree: Handle, recursive: number, attributes: number, propagation: number, userns: bigint): void {
  const attr = Buffer.alloc(MOUNT_ATTR_SIZE);
  attr.writeBigUInt64LE(BigInt(attributes), 0);
  attr.writeBigUInt64LE(BigInt(ATTRIBUTE.NOSYMFOLLOW & ~attributes), 8);
  attr.writeBigUInt64LE(BigInt(propagation), 16);
  attr.writeBigUInt64LE(userns, 24);
  mountSetattrCall(tree.path, tree.fd, '', AT.EMPTY_PATH | recursive, attr, MOUNT_ATTR_SIZE);
}

/** Mounts a detached tree over an open file of its kind, which is in the current mount namespace. @throws SyscallError */
export function attach(tree: Handle, mountPoint: Handle): void {
  moveMountCall(mountPoint.path, tree.fd, '', mountPoint.fd, '', MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

/** Whether this kernel can mount beneath: the flag is looked at before the descriptors, which are none. */
export function canAttachBeneath(): boolean {
  const flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH | MOVE_MOUNT_BENEATH;
  try {
    moveMountCall('move_mount', -1, '', -1, '', flags);
  } catch (error) {
    return failedWith(error, 'EBADF');
  }
  return false;
}

/**
 * Mounts a detached tree beneath what is mounted at an open root of a mount: the upper one is seen until it is unmounted
 * (Linux 6.5).
 * @throws SyscallError (EINVAL where the upper one was taken off meanwhile)
 */
export function attachBeneath(tree: Handle, mounted: Handle): void {
  const flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH | MOVE_MOUNT_BENEATH;
  moveMountCall(mounted.path, tree.fd, '', mounted.fd, '', flags);
}

const NOTHING_RUNS = ATTRIBUTE.NOSUID | ATTRIBUTE.NODEV | ATTRIBUTE.NOEXEC;

/**
 * A new tmpfs, not mounted anywhere yet, owned by root of the initial user namespace: no user can write to it or
 * remount it, and neither programs nor devices work in it.
 * @param options as in tmpfs(5)
 * @param attributes beside those
 * @throws SyscallError
 */
export function newTmpfs(options: Readonly<Record<string, string>>, attributes = 0): Handle {
  using context = new Handle(fsopen('tmpfs', 'tmpfs', CLOEXEC), 'tmpfs');
  fsconfig('tmpfs', context.fd, FSCONFIG.SET_STRING, 'source', 'nomad-rootless', 0);
  for (const [key, value] of Object.entries(options)) {
    fsconfig(`tmpfs ${key}=${value}`, context.fd, FSCONFIG.SET_STRING, key, value, 0);
  }
  fsconfig('tmpfs', context.fd, FSCONFIG.CMD_CREATE, null, null, 0);
  return new Handle(fsmount('tmpfs', context.fd, CLOEXEC, NOTHING_RUNS | attributes), 'tmpfs');
}

/**
 * Unmounts, lazily, what is mounted over `name` in an open directory. Moves the working directory of the thread there:
 * umount2 has no form that takes a handle, and /proc of a user's mount namespace is not to be trusted.
 * @returns false where nothing was mounted
 * @throws SyscallError
 */
export function unmountIn(parent: Handle, name: string): boolean {
  fchdir(parent.path, parent.fd);
  try {
    umount2(`${parent.path}/${name}`, name, MNT_DETACH | UMOUNT_NOFOLLOW);
    return true;
  } catch (error) {
    if (failedWith(error, 'EINVAL', 'ENOENT')) return false;
    throw error;
  }
}

/**
 * Unmounts, lazily, what is mounted at an absolute path that only root can have shaped.
 * @returns false where nothing was mounted
 * @throws SyscallError
 */
export function unmountAt(path: string): boolean {
  try {
    umount2(path, path, MNT_DETACH | UMOUNT_NOFOLLOW);
    return true;
  } catch (error) {
    if (failedWith(error, 'EINVAL', 'ENOENT')) return false;
    throw error;
  }
}

/** Makes an empty file in an open directory; nothing where something of that name is there already. @throws SyscallError */
export function makeFile(parent: Handle, name: string): void {
  const path = `${parent.path}/${name}`;
  const fd = openNew(path, parent.fd, name, O.WRONLY | O.CREAT | O.EXCL | O.CLOEXEC | O.NOFOLLOW, 0o600);
  if (fd >= 0) closeFd(path, fd);
}

/** Makes a directory in an open one; nothing where it is there already. @throws SyscallError */
export function makeDirectory(parent: Handle, name: string, mode: number): void {
  try {
    mkdirat(`${parent.path}/${name}`, parent.fd, name, mode);
  } catch (error) {
    if (!failedWith(error, 'EEXIST')) throw error;
  }
}

/**
 * Removes an empty directory from an open one; nothing where it is gone already. The kernel then also detaches whatever
 * is mounted on it in other mount namespaces (Linux 3.18, vfs_rmdir → detach_mounts).
 * @throws SyscallError
 */
export function removeDirectory(parent: Handle, name: string): void {
  try {
    unlinkat(`${parent.path}/${name}`, parent.fd, name, AT.REMOVEDIR);
  } catch (error) {
    if (!failedWith(error, 'ENOENT')) throw error;
  }
}

/** Removes a file from an open directory, and what is mounted on it elsewhere, as removeDirectory. @throws SyscallError */
export function removeFileFrom(parent: Handle, name: string): void {
  try {
    unlinkat(`${parent.path}/${name}`, parent.fd, name, 0);
  } catch (error) {
    if (!failedWith(error, 'ENOENT')) throw error;
  }
}
