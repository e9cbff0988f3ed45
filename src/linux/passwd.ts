import { readFileSync } from 'node:fs';
import koffi from 'koffi';
import { RootlessError } from '../errors.ts';
import { getpwnamR, getpwuidR } from './libc.ts';

/** A user account, as NSS has it: LDAP and SSSD users too. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  /** The home directory. */
  readonly home: string;
}

/** struct passwd of glibc on 64-bit Linux: name, passwd (pointers), uid, gid (u32), gecos, dir, shell (pointers), pwd.h. */
export const PASSWD = { SIZE: 48, NAME: 0, UID: 16, GID: 20, DIR: 32 } as const;
const FIRST_BUFFER = 4096;
const LARGEST_BUFFER = 1024 * 1024;

/**
 * Looks a user up by name or by numeric uid, through getpwnam_r(3) or getpwuid_r(3).
 * @returns undefined where there is no such user
 * @throws RootlessError (code nss) where the name service itself failed
 */
export function lookUpAccount(user: string | number): Account | undefined {
  const entry = Buffer.alloc(PASSWD.SIZE);
  const result = Buffer.alloc(8);
  for (let size = FIRST_BUFFER; size <= LARGEST_BUFFER; size *= 4) {
    const strings = Buffer.alloc(size);
    const errno =
      typeof user === 'number'
        ? getpwuidR(user, entry, strings, size, result)
        : getpwnamR(user, entry, strings, size, result);
    if (errno === koffi.os.errno.ERANGE) continue;
    const found = result.readBigUInt64LE(0) !== 0n;
    if (found) return parseEntry(entry, strings);
    // 0 and these four all say "not found", depending on the NSS module: getpwnam(3), ERRORS.
    const { ENOENT, ESRCH, EBADF, EPERM } = koffi.os.errno;
    if ([0, ENOENT, ESRCH, EBADF, EPERM].includes(errno)) return undefined;
    throw new RootlessError(`looking up user ${user}: errno ${errno}`, { code: 'nss', retryable: true });
  }
  throw new RootlessError(`looking up user ${user}: its entry is over 1 MiB`, { code: 'nss', retryable: false });
}

function parseEntry(entry: Buffer, strings: Buffer): Account {
  // glibc puts the strings into the buffer, so that the offset of one is its pointer less the address of the buffer.
  const textAt = (pointer: number) => {
    const offset = Number(entry.readBigUInt64LE(pointer) - BigInt(koffi.address(strings)));
    return strings.toString('utf8', offset, strings.indexOf(0, offset));
  };
  return {
    name: textAt(PASSWD.NAME),
    uid: entry.readUInt32LE(PASSWD.UID),
    gid: entry.readUInt32LE(PASSWD.GID),
    home: textAt(PASSWD.DIR),
  };
}

/**
 * Whether a user has a range of subordinate uids and of gids, subuid(5). Where nsswitch.conf names another source for
 * them than files, the answer is yes: only that source knows, and Podman will say so if it is not.
 */
export function hasSubordinateIds(account: Account): boolean {
  if (/^\s*subid:(?!\s*files\s*$)/m.test(readText('/etc/nsswitch.conf'))) return true;
  return ['/etc/subuid', '/etc/subgid'].every((file) => hasRange(readText(file), account));
}

function hasRange(text: string, { name, uid }: Account): boolean {
  return text.split('\n').some((line) => {
    const [owner, start, count] = line.trim().split(':');
    return (owner === name || owner === String(uid)) && Number(start) > 0 && Number(count) > 0;
  });
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
    throw error;
  }
}
