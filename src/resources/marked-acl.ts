import { failedWith, ParseError, RefusedError } from '../errors.ts';
import type { Handle } from '../linux/handle.ts';
import { stat } from '../linux/stat.ts';
import { getAttribute, removeAttribute, setAttribute } from '../linux/xattr.ts';
import { type Acl, decode, encode, fromMode } from '../model/acl.ts';
import { formatMark, type MarkedAcl, parseMark } from '../model/acl-change.ts';

/** xattr(7): `trusted.*` is readable and writable by root of the initial user namespace alone, so that no user can forge a mark. */
const MARK = 'trusted.nomad_rootless';
const ACCESS_ACL = 'system.posix_acl_access';

/** The access ACL of an open file; where it has none, or its filesystem has no ACLs, the one that its mode stands for. @throws SyscallError, ParseError */
export function readAcl(handle: Handle): Acl {
  const value = attributeIfSupported(handle, ACCESS_ACL);
  if (!value) return fromMode(stat(handle).mode);
  const acl = decode(value);
  if (!acl) throw new ParseError(`${ACCESS_ACL} of ${handle.path}`, 'a POSIX ACL, version 2', value.toString('hex'));
  return acl;
}

/**
 * Writes the access ACL. One without named entries makes the kernel set the mode and keep no ACL (posix_acl_update_mode).
 * @throws SyscallError, RefusedError `no_acl_support`
 */
export function writeAcl(handle: Handle, acl: Acl): void {
  requiringSupport(handle, () => setAttribute(handle, ACCESS_ACL, encode(acl)));
}

/** The ACL of an open directory with our mark. @throws SyscallError, ParseError where a mark is damaged */
export function readMarkedAcl(handle: Handle): MarkedAcl {
  const value = attributeIfSupported(handle, MARK)?.toString('utf8');
  const mark = value === undefined ? undefined : parseMark(value);
  if (value !== undefined && !mark) throw new ParseError(`${MARK} of ${handle.path}`, 'a mark of ours', value);
  return { acl: readAcl(handle), mark };
}

/**
 * Writes ACL and mark so that a crash in between loses nothing: a new mark goes first (it holds what to put back), a
 * mark that is no longer needed goes last.
 */
export function writeMarkedAcl(handle: Handle, { acl, mark }: MarkedAcl): void {
  // Before a mark that nothing could take back is left there.
  requiringSupport(handle, () => getAttribute(handle, ACCESS_ACL));
  if (mark) requiringSupport(handle, () => setAttribute(handle, MARK, Buffer.from(formatMark(mark))));
  writeAcl(handle, acl);
  if (!mark) removeAttribute(handle, MARK);
}

/** The filesystem says EOPNOTSUPP where it has no attributes of that kind, or was mounted without ACLs: vfs_get_acl, fs/posix_acl.c. */
function attributeIfSupported(handle: Handle, name: string): Buffer | undefined {
  try {
    return getAttribute(handle, name);
  } catch (error) {
    if (isUnsupported(error)) return undefined;
    throw error;
  }
}

/** Whether the filesystem of an open file takes POSIX ACLs. @throws SyscallError */
export function takesAcls(handle: Handle): boolean {
  try {
    getAttribute(handle, ACCESS_ACL);
    return true;
  } catch (error) {
    if (isUnsupported(error)) return false;
    throw error;
  }
}

/** Nothing that is done again changes what a filesystem has. */
function requiringSupport(handle: Handle, act: () => unknown): void {
  try {
    act();
  } catch (error) {
    if (!isUnsupported(error)) throw error;
    const message = `the filesystem of ${handle.path} does not support POSIX ACLs, which protect allocations; mount it without noacl, or put Nomad's alloc_dir on ext4, XFS, btrfs or tmpfs`;
    throw new RefusedError('no_acl_support', message, error);
  }
}

function isUnsupported(error: unknown): boolean {
  return failedWith(error, 'EOPNOTSUPP');
}
