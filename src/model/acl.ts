/** Permission bits of one ACL entry, as in acl(5). */
export type Permissions = number;
/** The bits, and those that go together. */
export const MAY = { read: 4, write: 2, execute: 1, readWrite: 6, readExecute: 5, all: 7 } as const;

/** A POSIX access ACL, acl(5). `mask` stands only where there are named entries; without any the ACL equals a file mode. */
export interface Acl {
  readonly owner: Permissions;
  readonly users: ReadonlyMap<number, Permissions>;
  readonly group: Permissions;
  readonly groups: ReadonlyMap<number, Permissions>;
  readonly mask: Permissions | undefined;
  readonly other: Permissions;
}

/** The ACL that a file mode stands for. */
export function fromMode(mode: number): Acl {
  return {
    owner: (mode >> 6) & 7,
    users: new Map(),
    group: (mode >> 3) & 7,
    groups: new Map(),
    mask: undefined,
    other: mode & 7,
  };
}

/**
 * What an allocation's root directory carries: root as ever, the users of its tasks may enter and list, and nobody
 * else, other users' containers included (they run under subuids, which are "other").
 */
export function onlyFor(uids: Iterable<number>): Acl {
  return masked({
    owner: MAY.all,
    users: new Map([...uids].map((uid) => [uid, MAY.readExecute])),
    group: 0,
    groups: new Map(),
    other: 0,
  });
}

/**
 * The ACL with one user's entry set, and everybody else's effective permissions as they were: a mask that has to widen
 * would give others what it held back, so their entries are cut down to what it let through first.
 */
export function withUser(acl: Acl, uid: number, permissions: Permissions): Acl {
  const mask = acl.mask ?? MAY.all;
  const cut = (entries: ReadonlyMap<number, Permissions>) =>
    new Map([...entries].map(([id, bits]) => [id, bits & mask]));
  const users = cut(acl.users).set(uid, permissions);
  return masked({ ...acl, users, groups: cut(acl.groups), group: acl.group & mask });
}

/** The ACL without an entry for that user. */
export function withoutUser(acl: Acl, uid: number): Acl {
  if (!acl.users.has(uid)) return acl;
  const users = new Map(acl.users);
  users.delete(uid);
  return masked({ ...acl, users });
}

function masked(acl: Omit<Acl, 'mask'>): Acl {
  if (acl.users.size + acl.groups.size === 0) return { ...acl, mask: undefined };
  const mask = [...acl.users.values(), ...acl.groups.values()].reduce((bits, more) => bits | more, acl.group);
  return { ...acl, mask };
}

/** Whether two ACLs say the same. */
export function equals(a: Acl, b: Acl): boolean {
  return format(a) === format(b);
}

/** The short text form of acl(5), with numeric ids: `u::rwx,u:1001:r-x,g::---,m::r-x,o::---`. */
export function format(acl: Acl): string {
  const bits = (permissions: Permissions) =>
    `${permissions & MAY.read ? 'r' : '-'}${permissions & MAY.write ? 'w' : '-'}${permissions & MAY.execute ? 'x' : '-'}`;
  const named = (tag: string, entries: ReadonlyMap<number, Permissions>) =>
    [...entries].sort(([a], [b]) => a - b).map(([id, permissions]) => `${tag}:${id}:${bits(permissions)}`);
  return [
    `u::${bits(acl.owner)}`,
    ...named('u', acl.users),
    `g::${bits(acl.group)}`,
    ...named('g', acl.groups),
    ...(acl.mask === undefined ? [] : [`m::${bits(acl.mask)}`]),
    `o::${bits(acl.other)}`,
  ].join(',');
}

/**
 * What the user may do by this ACL, as the access check algorithm of acl(5) has it for somebody who is not the owner.
 * Groups are left out: who gets in by a group only is counted as kept out.
 */
export function permissionsOf(acl: Acl, uid: number): Permissions {
  const named = acl.users.get(uid);
  return named === undefined ? acl.other : named & (acl.mask ?? MAY.all);
}

/** ACL_EA_VERSION and the tags, include/uapi/linux/posix_acl_xattr.h and posix_acl.h. */
const VERSION = 2;
const TAG = { owner: 0x01, user: 0x02, group: 0x04, namedGroup: 0x08, mask: 0x10, other: 0x20 } as const;
const NO_ID = 0xffffffff;
const ENTRY_SIZE = 8;

/** The value of the extended attribute `system.posix_acl_access`, entries in the order that the kernel demands. */
export function encode(acl: Acl): Buffer {
  const byId = (entries: ReadonlyMap<number, Permissions>) => [...entries].sort(([a], [b]) => a - b);
  const entries: [tag: number, permissions: number, id: number][] = [
    [TAG.owner, acl.owner, NO_ID],
    ...byId(acl.users).map(([id, bits]): [number, number, number] => [TAG.user, bits, id]),
    [TAG.group, acl.group, NO_ID],
    ...byId(acl.groups).map(([id, bits]): [number, number, number] => [TAG.namedGroup, bits, id]),
    ...(acl.mask === undefined ? [] : [[TAG.mask, acl.mask, NO_ID] satisfies [number, number, number]]),
    [TAG.other, acl.other, NO_ID],
  ];
  const buffer = Buffer.alloc(4 + ENTRY_SIZE * entries.length);
  buffer.writeUInt32LE(VERSION, 0);
  entries.forEach(([tag, permissions, id], index) => {
    buffer.writeUInt16LE(tag, 4 + ENTRY_SIZE * index);
    buffer.writeUInt16LE(permissions, 6 + ENTRY_SIZE * index);
    buffer.writeUInt32LE(id, 8 + ENTRY_SIZE * index);
  });
  return buffer;
}

/** Reads what encode writes; undefined where the bytes are no valid ACL of version 2. */
export function decode(bytes: Buffer): Acl | undefined {
  if (bytes.length < 4 || (bytes.length - 4) % ENTRY_SIZE !== 0 || bytes.readUInt32LE(0) !== VERSION) return undefined;
  const single = new Map<number, Permissions>();
  const users = new Map<number, Permissions>();
  const groups = new Map<number, Permissions>();
  for (let at = 4; at < bytes.length; at += ENTRY_SIZE) {
    const tag = bytes.readUInt16LE(at);
    const permissions = bytes.readUInt16LE(at + 2);
    if (tag === TAG.user) users.set(bytes.readUInt32LE(at + 4), permissions);
    else if (tag === TAG.namedGroup) groups.set(bytes.readUInt32LE(at + 4), permissions);
    else single.set(tag, permissions);
  }
  const owner = single.get(TAG.owner);
  const group = single.get(TAG.group);
  const other = single.get(TAG.other);
  if (owner === undefined || group === undefined || other === undefined) return undefined;
  return { owner, users, group, groups, mask: single.get(TAG.mask), other };
}
