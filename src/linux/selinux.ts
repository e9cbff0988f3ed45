import { existsSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { failedWith } from '../errors.ts';
import { entriesOf } from './directory.ts';
import { type Handle, openBeneathIfThere } from './handle.ts';
import { O } from './libc.ts';
import { isDirectory, stat } from './stat.ts';
import { getAttribute, setAttribute } from './xattr.ts';

/** Where selinuxfs is mounted when the kernel enforces or checks a policy, selinux(8). */
const SELINUXFS = '/sys/fs/selinux/enforce';
const ATTRIBUTE = 'security.selinux';
/** Each level holds two descriptors. */
const MOST_LEVELS = 200;
/** After so many files others get their turn. */
const SLICE = 200;

/** The label of files that all containers share: what Podman's mount option `z` gives (container-selinux, container_selinux(8)). */
export const SHARED_LABEL = 'system_u:object_r:container_file_t:s0';

/** Whether this host has SELinux on, enforcing or permissive. */
export function isSelinuxOn(): boolean {
  return existsSync(SELINUXFS);
}

/** Whether a file has the shared label. @throws SyscallError */
export function isShared(file: Handle): boolean {
  return getAttribute(file, ATTRIBUTE)?.toString('utf8').replace(/\0$/, '') === SHARED_LABEL;
}

/**
 * Gives a file, or a directory with all that is in it, the shared label; nothing where its own label is right, since what is made in
 * it later inherits that. The directory itself comes last, so that a walk which was cut short is done again. Each file is opened
 * relative to its directory, no symlink and no mount is gone through.
 * @throws SyscallError
 */
export async function share(file: Handle): Promise<void> {
  if (isShared(file)) return;
  await shareBelow(file, { left: SLICE }, MOST_LEVELS);
}

async function shareBelow(file: Handle, slice: { left: number }, levels: number): Promise<void> {
  if (--slice.left === 0) {
    slice.left = SLICE;
    await setImmediate();
  }
  if (levels > 0 && isDirectory(stat(file))) {
    using directory = openBeneathIfThere(file, '.', O.RDONLY | O.DIRECTORY);
    for (const name of directory ? entriesOf(directory) : []) {
      using entry = directory && openEntry(directory, name);
      if (entry) await shareBelow(entry, slice, levels - 1);
    }
  }
  if (!isShared(file)) setAttribute(file, ATTRIBUTE, Buffer.from(`${SHARED_LABEL}\0`));
}

/** Undefined for what is gone, and for the root of another mount. */
function openEntry(directory: Handle, name: string): Handle | undefined {
  try {
    return openBeneathIfThere(directory, name);
  } catch (error) {
    if (failedWith(error, 'EXDEV')) return undefined;
    // A symlink: to be opened itself, it must not be asked to lead nowhere.
    if (failedWith(error, 'ELOOP')) return undefined;
    throw error;
  }
}
