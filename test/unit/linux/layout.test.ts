import koffi from 'koffi';
import { describe, expect, test } from 'vitest';
import { OPEN_HOW_SIZE } from '../../../src/linux/handle.ts';
import { MOUNT_ATTR_SIZE } from '../../../src/linux/mount.ts';
import { ENTRIES, INFO, IP6T_ENTRY, IPT_ENTRY, REPLACE } from '../../../src/linux/net/x-tables.ts';
import { UCRED_SIZE } from '../../../src/linux/peer-credentials.ts';
import { STATX } from '../../../src/linux/stat.ts';

/** The declarations of the kernel's and glibc's headers; the C rules of this architecture lay them out. */
const openHow = koffi.struct({ flags: 'uint64_t', mode: 'uint64_t', resolve: 'uint64_t' });
const mountAttr = koffi.struct({ set: 'uint64_t', clr: 'uint64_t', propagation: 'uint64_t', userns_fd: 'uint64_t' });
const ucred = koffi.struct({ pid: 'int32_t', uid: 'uint32_t', gid: 'uint32_t' });
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

/** include/uapi/linux/netfilter_ipv4/ip_tables.h and netfilter_ipv6/ip6_tables.h. */
const name = koffi.array('char', 32);
const hooks = koffi.array('uint32_t', 5);
const counters = koffi.struct({ pcnt: 'uint64_t', bcnt: 'uint64_t' });
const iptGetinfo = koffi.struct({
  name,
  valid_hooks: 'uint32_t',
  hook_entry: hooks,
  underflow: hooks,
  num_entries: 'uint32_t',
  size: 'uint32_t',
});
const iptReplace = koffi.struct({
  name,
  valid_hooks: 'uint32_t',
  num_entries: 'uint32_t',
  size: 'uint32_t',
  hook_entry: hooks,
  underflow: hooks,
  num_counters: 'uint32_t',
  counters: 'void *',
});
const entryOf = (ip: number) =>
  koffi.struct({
    ip: koffi.array('uint32_t', ip / 4),
    nfcache: 'uint32_t',
    target_offset: 'uint16_t',
    next_offset: 'uint16_t',
    comefrom: 'uint32_t',
    counters,
  });

describe('the layout of', () => {
  test('the structures of the older packet filter is as we write it', () => {
    expect(INFO).toEqual({
      SIZE: koffi.sizeof(iptGetinfo),
      HOOKS: koffi.offsetof(iptGetinfo, 'valid_hooks'),
      COUNT: koffi.offsetof(iptGetinfo, 'num_entries'),
      ENTRIES_SIZE: koffi.offsetof(iptGetinfo, 'size'),
    });
    // Entries are aligned to eight bytes.
    expect(ENTRIES).toEqual({ SIZE: 32, AT: 40 });
    expect(REPLACE).toEqual({
      HOOKS: koffi.offsetof(iptReplace, 'valid_hooks'),
      COUNT: koffi.offsetof(iptReplace, 'num_entries'),
      SIZE: koffi.offsetof(iptReplace, 'size'),
      ENTRY: koffi.offsetof(iptReplace, 'hook_entry'),
      COUNTERS: koffi.offsetof(iptReplace, 'num_counters'),
      POINTER: koffi.offsetof(iptReplace, 'counters'),
      AT: koffi.sizeof(iptReplace),
    });
    for (const [entry, ip] of [[IPT_ENTRY, 84] as const, [IP6T_ENTRY, 136] as const]) {
      const struct = entryOf(ip);
      expect(entry).toEqual({
        NFCACHE: koffi.offsetof(struct, 'nfcache'),
        NEXT: koffi.offsetof(struct, 'next_offset'),
        COMEFROM: koffi.offsetof(struct, 'comefrom'),
        COUNTERS: koffi.offsetof(struct, 'counters'),
        SIZE: koffi.sizeof(struct),
      });
    }
  });

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
      MASK: koffi.offsetof(statx, 'mask'),
      ATTRIBUTES: koffi.offsetof(statx, 'attributes'),
      NLINK: koffi.offsetof(statx, 'nlink'),
      UID: koffi.offsetof(statx, 'uid'),
      GID: koffi.offsetof(statx, 'gid'),
      MODE: koffi.offsetof(statx, 'mode'),
      INO: koffi.offsetof(statx, 'ino'),
      DEV_MAJOR: koffi.offsetof(statx, 'dev_major'),
      DEV_MINOR: koffi.offsetof(statx, 'dev_minor'),
      MNT_ID: koffi.offsetof(statx, 'mnt_id'),
    });
  });
});
