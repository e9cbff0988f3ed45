import { describe, expect, test } from 'vitest';
import type { NetlinkObject } from '../../../src/linux/net/rtnetlink.ts';
import {
  comesWithAddress,
  describe as describeObject,
  isCarried,
  isOfLinkLocal,
  keyOf,
  normalForm,
} from '../../../src/resources/netns/normal-form.ts';

const u32 = (...numbers: number[]) => {
  const bytes = Buffer.alloc(4 * numbers.length);
  for (const [at, number] of numbers.entries()) bytes.writeUInt32LE(number, 4 * at);
  return bytes;
};
const FOREVER = 0xffffffff;

/** struct ifaddrmsg: family, prefix length, flags, scope, index; IFA_ADDRESS 1, IFA_FLAGS 8, IFA_CACHEINFO 6. */
function address(fields: { family?: number; flags?: number; lifetime?: number; bytes?: number[] } = {}): NetlinkObject {
  const { family = 2, flags = 0x80, lifetime = FOREVER, bytes = [10, 0, 0, 7] } = fields;
  return {
    header: Buffer.concat([Buffer.from([family, 16, flags & 0xff, 0]), u32(2)]),
    attributes: [
      { type: 1, value: Buffer.from(bytes) },
      { type: 8, value: u32(flags) },
      { type: 6, value: u32(lifetime, lifetime, 12345, 67890) },
    ],
  };
}

/** struct rtmsg: family, destination and source length, tos, table, protocol, scope, type, flags. */
function route(fields: { family?: number; protocol?: number; table?: number; flags?: number; to?: number[] } = {}) {
  const { family = 2, protocol = 3, table = 254, flags = 0, to = [10, 1, 0, 0] } = fields;
  return {
    header: Buffer.concat([Buffer.from([family, 16, 0, 0, table, protocol, 0, 1]), u32(flags)]),
    attributes: [
      { type: 15, value: u32(table) },
      { type: 1, value: Buffer.from(to) },
      { type: 12, value: u32(1, 2, 3, 4) },
    ],
  } satisfies NetlinkObject;
}

/** struct ndmsg: family, padding, index, state, flags, type. */
function neighbour(state: number, flags = 0): NetlinkObject {
  const header = Buffer.alloc(12);
  header[0] = 2;
  header.writeUInt16LE(state, 8);
  header[10] = flags;
  return { header, attributes: [] };
}

const LINK_LOCAL = [0xfe, 0x80, ...Array(13).fill(0), 1];

describe('an address', () => {
  test('is the same whether the kernel is still looking for duplicates or not', () => {
    expect(keyOf('address', address({ family: 10, flags: 0x80 | 0x40 }))).toBe(
      keyOf('address', address({ family: 10, flags: 0x80 })),
    );
  });

  test('is another one with other flags that somebody has set', () => {
    expect(keyOf('address', address({ flags: 0x80 | 0x200 }))).not.toBe(keyOf('address', address({ flags: 0x80 })));
  });

  test('is the same with less of its lifetime left, and another one without an end', () => {
    expect(keyOf('address', address({ lifetime: 3000 }))).toBe(keyOf('address', address({ lifetime: 2999 })));
    expect(keyOf('address', address({ lifetime: 3000 }))).not.toBe(keyOf('address', address()));
  });

  test('keeps its lifetime when it is made again', () => {
    const { attributes } = normalForm('address', address({ lifetime: 3000 }));
    expect(attributes.find(({ type }) => type === 6)?.value).toEqual(u32(3000, 3000, 0, 0));
  });

  test('that is link-local comes by itself', () => {
    expect(isOfLinkLocal('address', address({ family: 10, bytes: LINK_LOCAL }))).toBe(true);
    expect(isOfLinkLocal('address', address({ family: 10, bytes: [0xfd, ...Array(15).fill(0)] }))).toBe(false);
    expect(isOfLinkLocal('address', address({ bytes: [169, 254, 0, 1] }))).toBe(false);
  });
});

describe('a route', () => {
  test('is the same whether its link is up or not, and whenever it was used', () => {
    expect(keyOf('route', route({ flags: 0x10 }))).toBe(keyOf('route', route()));
    expect(keyOf('route', route({ flags: 0x04 }))).not.toBe(keyOf('route', route()));
  });

  test.each([
    ['that somebody set is carried', route(), true],
    ['of the kernel is carried', route({ protocol: 2 }), true],
    ['that a router announces is not', route({ protocol: 9 }), false],
    ['that a redirect made is not', route({ protocol: 1 }), false],
    ['that the kernel has cloned is not', route({ flags: 0x200 }), false],
    ['of another protocol family is not', route({ family: 28 }), false],
  ])('%s', (_, object, carried) => {
    expect(isCarried('route', object)).toBe(carried);
  });

  test('comes with an address where it leads to this host', () => {
    expect(comesWithAddress('route', route({ protocol: 2, table: 255 }))).toBe(true);
    expect(comesWithAddress('route', route({ protocol: 3, table: 255 }))).toBe(false);
    expect(comesWithAddress('route', route({ protocol: 2, table: 254 }))).toBe(false);
  });

  test('is described for people', () => {
    expect(describeObject('route', route())).toBe('IPv4 route 10.1.0.0/16 in table 254');
    const ipv6 = route({ family: 10, to: [0xfd, 0, ...Array(13).fill(0), 7] });
    expect(describeObject('route', ipv6)).toBe('IPv6 route fd00:0:0:0:0:0:0:7/16 in table 254');
  });
});

describe('a neighbour', () => {
  test.each([
    ['that is permanent is carried', neighbour(0x80), true],
    ['that the kernel has learned is not', neighbour(0x02), false],
    ['that is a proxy is carried', neighbour(0, 0x08), true],
  ])('%s', (_, object, carried) => {
    expect(isCarried('neighbour', object)).toBe(carried);
  });
});
