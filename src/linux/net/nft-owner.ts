import { type Attribute, attributeOf, decodeAttributes, encodeAttributes, textOf } from './netlink-message.ts';

/** Attributes of expressions, include/uapi/linux/netfilter/nf_tables.h. */
const EXPRESSION = { NAME: 1, DATA: 2 } as const;
const MATCH = { NAME: 1, INFO: 3 } as const;
const META = { DREG: 1, KEY: 2, SKUID: 10, SKGID: 11 } as const;
const COMPARE = { SREG: 1, OPERATION: 2, DATA: 3, EQUAL: 0, NOT_EQUAL: 1 } as const;
const DATA_VALUE = 1;
const REGISTER = 1;
const LIST_ELEMENT = 1;

/** struct xt_owner_match_info, include/uapi/linux/netfilter/xt_owner.h: uid_min, uid_max, gid_min, gid_max, match, invert. */
const OWNER = { UID: 0, GID: 8, MATCH: 16, INVERT: 17, SIZE: 18 } as const;
const BITS = { UID: 1, GID: 2 } as const;

/**
 * The expressions of a rule with `-m owner` of iptables-nft written as nftables' own `meta skuid` and `meta skgid`. The
 * kernel takes the former only from a process of the user namespace that owns the network namespace (owner_check in
 * net/netfilter/xt_owner.c), which we are not; the latter does the same: it compares ids as that user namespace has them.
 * @returns undefined where the match asks for something that the latter cannot say: ranges, sockets, groups beyond the first
 */
export function withoutOwnerMatch(expressions: readonly Attribute[]): Attribute[] | undefined {
  const written: Attribute[] = [];
  for (const expression of expressions) {
    const info = ownerInfoOf(expression);
    const own = info ? comparisonsOf(info) : [expression];
    if (!own) return undefined;
    written.push(...own);
  }
  return written;
}

function ownerInfoOf({ value }: Attribute): Buffer | undefined {
  const attributes = decodeAttributes(value);
  if (textOf(attributeOf(attributes, EXPRESSION.NAME) ?? Buffer.alloc(0)) !== 'match') return undefined;
  const match = decodeAttributes(attributeOf(attributes, EXPRESSION.DATA) ?? Buffer.alloc(0));
  const isOwner = textOf(attributeOf(match, MATCH.NAME) ?? Buffer.alloc(0)) === 'owner';
  return isOwner ? attributeOf(match, MATCH.INFO) : undefined;
}

function comparisonsOf(info: Buffer): Attribute[] | undefined {
  if (info.length < OWNER.SIZE) return undefined;
  const [match = 0, invert = 0] = info.subarray(OWNER.MATCH);
  if ((match & ~(BITS.UID | BITS.GID)) !== 0) return undefined;
  const written: Attribute[] = [];
  for (const [bit, at, key] of [
    [BITS.UID, OWNER.UID, META.SKUID],
    [BITS.GID, OWNER.GID, META.SKGID],
  ] as const) {
    if ((match & bit) === 0) continue;
    const [least, most] = [info.readUInt32LE(at), info.readUInt32LE(at + 4)];
    if (least !== most) return undefined;
    written.push(...comparison(key, least, (invert & bit) !== 0));
  }
  return written;
}

function comparison(key: number, id: number, inverted: boolean): Attribute[] {
  const value = Buffer.alloc(4);
  value.writeUInt32LE(id); // an id lies in a register in the byte order of the machine
  const operation = inverted ? COMPARE.NOT_EQUAL : COMPARE.EQUAL;
  return [
    expressionOf('meta', [bigEndian(META.KEY, key), bigEndian(META.DREG, REGISTER)]),
    expressionOf('cmp', [
      bigEndian(COMPARE.SREG, REGISTER),
      bigEndian(COMPARE.OPERATION, operation),
      { type: COMPARE.DATA, value: encodeAttributes([{ type: DATA_VALUE, value }]) },
    ]),
  ];
}

function expressionOf(name: string, data: readonly Attribute[]): Attribute {
  const value = encodeAttributes([
    { type: EXPRESSION.NAME, value: Buffer.from(`${name}\0`) },
    { type: EXPRESSION.DATA, value: encodeAttributes(data) },
  ]);
  return { type: LIST_ELEMENT, value };
}

function bigEndian(type: number, number: number): Attribute {
  const value = Buffer.alloc(4);
  value.writeUInt32BE(number);
  return { type, value };
}
