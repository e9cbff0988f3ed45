import koffi from 'koffi';
import { describe, expect, test } from 'vitest';
import { OPEN_HOW_SIZE } from '../../../src/linux/handle.ts';
import { MOUNT_ATTR_SIZE } from '../../../src/linux/mount.ts';
import { PASSWD } from '../../../src/linux/passwd.ts';
import { UCRED_SIZE } from '../../../src/linux/peer-credentials.ts';
import { STATX } from '../../../src/linux/stat.ts';

/** The declarations of the kernel's and glibc's headers; the C rules of this architecture lay them out. */
const openHow = koffi.struct({ flags: 'uint64_t', mode: 'uint64_t', resolve: 'uint64_t' });
const mountAttr = koffi.struct({ set: 'uint64_t', clr: 'uint64_t', propagation: 'uint64_t', userns_fd: 'uint64_t' });
const ucred = koffi.struct({ pid: 'int32_t', uid: 'uint32_t', gid: 'uint32_t' });
const passwd = koffi.struct({
  pw_name: 'void *',
  pw_passwd: 'void *',
  pw_uid: 'uint32_t',
  pw_gid: 'uint32_t',
  pw_gecos: 'void *',
  pw_dir: 'void *',
  pw_shell: 'void *',
});
const timestamp = koffi.struct({ sec: 'int64_t', nsec: 'uint32_t', reserved: 'int32_t' });
const statx = koffi.struct({
  mask: 'uint32_t',
  blksize: 'uint32_t',
  attributes: 'uint64_t',
  nlink: 'uint32_t',
  uid: 'uint32_t',
  gid: 'uint32_t',
  mode: 'uint16_t',
  spare0: 'uint16_t',
  ino: 'uint64_t',
  size: 'uint64_t',
  blocks: 'uint64_t',
  attributes_mask: 'uint64_t',
  atime: timestamp,
  btime: timestamp,
  ctime: timestamp,
  mtime: timestamp,
  rdev_major: 'uint32_t',
  rdev_minor: 'uint32_t',
  dev_major: 'uint32_t',
  dev_minor: 'uint32_t',
  mnt_id: 'uint64_t',
  spare: koffi.array('uint64_t', 13),
});

describe('the layout of', () => {
  test('struct open_how, struct mount_attr and struct ucred is as we write it', () => {
    expect(OPEN_HOW_SIZE).toBe(koffi.sizeof(openHow));
    expect(koffi.offsetof(openHow, 'resolve')).toBe(16);
    expect(MOUNT_ATTR_SIZE).toBe(koffi.sizeof(mountAttr));
    expect(koffi.offsetof(mountAttr, 'propagation')).toBe(16);
    expect(UCRED_SIZE).toBe(koffi.sizeof(ucred));
    expect(koffi.offsetof(ucred, 'uid')).toBe(4);
  });

  test('struct statx is as we read it', () => {
    expect(STATX).toEqual({
      SIZE: koffi.sizeof(statx),
      UID: koffi.offsetof(statx, 'uid'),
      GID: koffi.offsetof(statx, 'gid'),
      MODE: koffi.offsetof(statx, 'mode'),
      INO: koffi.offsetof(statx, 'ino'),
      DEV_MAJOR: koffi.offsetof(statx, 'dev_major'),
      DEV_MINOR: koffi.offsetof(statx, 'dev_minor'),
    });
  });

  test('struct passwd is as we read it', () => {
    expect(PASSWD).toEqual({
      SIZE: koffi.sizeof(passwd),
      UID: koffi.offsetof(passwd, 'pw_uid'),
      GID: koffi.offsetof(passwd, 'pw_gid'),
    });
  });
});
