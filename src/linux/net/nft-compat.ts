import { type Attribute, attributeOf, decodeAttributes, encodeAttributes, textOf } from './netlink-message.ts';

/** Attributes of expressions, include/uapi/linux/netfilter/nf_tables.h. */
const EXPRESSION = { NAME: 1, DATA: 2 } as const;
const META = { KEY: 2, L4PROTO: 16 } as const;
const PAYLOAD = { BASE: 2, OFFSET: 3, LENGTH: 4, NETWORK_HEADER: 1 } as const;
const COMPARE = { OPERATION: 2, DATA: 3, EQUAL: 0 } as const;
const DATA_VALUE = 1;
const COMPAT = { PROTOCOL: 1, FLAGS: 2, INVERTED: 2 } as const;

/** Where the protocol of what comes behind stands in an IPv4 and in an IPv6 header, by address family. */
const PROTOCOL_OFFSET: Readonly<Record<number, number>> = { 2: 9, 10: 6 };

/**
 * The NFTA_RULE_COMPAT attribute of a rule that iptables-nft wrote: the protocol that its xtables matches and targets
 * are for, without which the kernel takes no `-m tcp`. It is not dumped with the rule, but `-p tcp` is, as a comparison.
 * @returns undefined where the rule has no xtables match or target
 */
export function compatOf(family: number, expressions: readonly Attribute[]): Buffer | undefined {
  const parsed = expressions.map(({ value }) => {
    const attributes = decodeAttributes(value);
    const name = textOf(attributeOf(attributes, EXPRESSION.NAME) ?? Buffer.alloc(0));
    return { name, data: decodeAttributes(attributeOf(attributes, EXPRESSION.DATA) ?? Buffer.alloc(0)) };
  });
  if (!parsed.some(({ name }) => name === 'match' || name === 'target')) return undefined;
  const at = parsed.findIndex(({ name, data }) => loadsProtocol(family, name, data));
  const compare = at === -1 ? undefined : parsed.slice(at).find(({ name }) => name === 'cmp');
  const value =
    compare && attributeOf(decodeAttributes(attributeOf(compare.data, COMPARE.DATA) ?? Buffer.alloc(0)), DATA_VALUE);
  const inverted = compare !== undefined && number(compare.data, COMPARE.OPERATION) !== COMPARE.EQUAL;
  return encodeAttributes([
    { type: COMPAT.PROTOCOL, value: bigEndian(value?.[0] ?? 0) },
    { type: COMPAT.FLAGS, value: bigEndian(inverted ? COMPAT.INVERTED : 0) },
  ]);
}

function loadsProtocol(family: number, name: string, data: readonly Attribute[]): boolean {
  if (name === 'meta') return number(data, META.KEY) === META.L4PROTO;
  return (
    name === 'payload' &&
    number(data, PAYLOAD.BASE) === PAYLOAD.NETWORK_HEADER &&
    number(data, PAYLOAD.LENGTH) === 1 &&
    number(data, PAYLOAD.OFFSET) === PROTOCOL_OFFSET[family]
  );
}

function number(attributes: readonly Attribute[], type: number): number | undefined {
  return attributeOf(attributes, type)?.readUInt32BE(0);
}

function bigEndian(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
