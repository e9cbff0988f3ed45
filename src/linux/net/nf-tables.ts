import { failedWith, NotYetError } from '../../errors.ts';
import {
  type Attribute,
  attributeOf,
  decodeAttributes,
  encodeAttributes,
  stringAttribute,
  textOf,
  typeOf,
  u32Attribute,
} from './netlink-message.ts';
import { CREATE } from './netlink-protocol.ts';
import type { NetlinkRequest, NetlinkSocket } from './netlink-socket.ts';
import { compatOf } from './nft-compat.ts';
import { withoutOwnerMatch } from './nft-owner.ts';

/** include/uapi/linux/netfilter/nfnetlink.h: the subsystem is the upper byte of a message's type. */
const NFTABLES = 10;
const BATCH_BEGIN = 0x10;
const BATCH_END = 0x11;
/** struct nfgenmsg: family, version (u8), res_id (be16). */
const HEADER_SIZE = 4;

/**
 * What nf_tables has, in the order in which it can be made again, and the attributes of each that say nothing of what it
 * does: handles, counts of users, padding. Numbers of include/uapi/linux/netfilter/nf_tables.h.
 */
const TYPES = {
  table: { make: 0, get: 1, dropped: [3, 4, 5], makeFlags: CREATE.CREATE },
  set: { make: 9, get: 10, dropped: [10, 14, 16, 19, 20], makeFlags: CREATE.CREATE },
  object: { make: 18, get: 19, dropped: [5, 6, 7], makeFlags: CREATE.CREATE },
  chain: { make: 3, get: 4, dropped: [2, 6, 9, 11], makeFlags: CREATE.CREATE },
  element: { make: 12, get: 13, dropped: [4], makeFlags: CREATE.CREATE },
  rule: { make: 6, get: 7, dropped: [3, 6, 8, 9, 10, 11], makeFlags: CREATE.CREATE | CREATE.APPEND },
  flowtable: { make: 22, get: 23, dropped: [4, 5, 6, 7], makeFlags: CREATE.CREATE },
} as const;
const DELETE_TABLE = 2;

/** The first two attributes of everything: its table's name, and its own; of an element, its set's; of a rule, its chain's. */
const TABLE_NAME = 1;
const TABLE_FLAGS = 2;
const SET_NAME = 2;
const SET_ID = 10;
const OBJECT_NAME = 2;
const CHAIN_NAME = 3;
const CHAIN_HOOK = 4;
const HOOK_DEVICE = 3;
const HOOK_DEVICES = 4;
const ELEMENTS = 3;
const ELEMENT_EXPIRATION = 5;
const RULE_CHAIN = 2;
const RULE_EXPRESSIONS = 4;
const RULE_COMPAT = 5;
/** NFT_TABLE_F_OWNER: the table goes with the process that made it. */
const OWNED = 0x2;

/** Of all sets together: each is a dump of its own, and a user can make any number in the user's own namespace. */
const MOST_BYTES_OF_ELEMENTS = 1024 * 1024;

/** One thing of nf_tables, as the kernel dumped it, without what is of no account. */
export interface NftObject {
  readonly type: keyof typeof TYPES;
  readonly family: number;
  readonly attributes: readonly Attribute[];
}

/** What nf_tables has in the socket's network namespace; nothing where the kernel has no nf_tables. @throws as NetlinkSocket.dump, NotYetError `network_too_large` */
export async function readRuleset(socket: NetlinkSocket): Promise<NftObject[]> {
  const tables = await readTables(socket);
  if (tables.length === 0) return [];
  const sets = await read(socket, 'set');
  const rest: NftObject[] = [];
  for (const type of ['object', 'chain'] as const) rest.push(...(await read(socket, type)));
  let size = 0;
  for (const { family, attributes } of sets) {
    const elements = await readElements(socket, family, attributes);
    size += elements.reduce((sum, one) => sum + (attributeOf(one.attributes, ELEMENTS)?.length ?? 0), 0);
    if (size > MOST_BYTES_OF_ELEMENTS) {
      const message = `nftables sets: more than ${MOST_BYTES_OF_ELEMENTS} bytes of elements`;
      throw new NotYetError('network_too_large', message);
    }
    rest.push(...elements);
  }
  rest.push(...(await read(socket, 'rule')), ...(await read(socket, 'flowtable')));
  return [...tables, ...sets, ...rest];
}

/** Makes a ruleset anew, all of it or nothing, in the place of what is there. @throws SyscallError that names what the kernel does not take */
export async function writeRuleset(socket: NetlinkSocket, ruleset: readonly NftObject[]): Promise<void> {
  const begin = { type: BATCH_BEGIN, payload: header(0, NFTABLES), what: 'nftables' };
  const end = { type: BATCH_END, payload: header(0, NFTABLES), what: 'nftables' };
  const clear = { type: messageType(DELETE_TABLE), payload: header(0), what: 'removing the nftables ruleset' };
  const requests = ruleset.map((object, index): NetlinkRequest => {
    const { make, makeFlags } = TYPES[object.type];
    const attributes = [...object.attributes, ...additions(object, index)];
    const payload = Buffer.concat([header(object.family), encodeAttributes(attributes)]);
    return { type: messageType(make), flags: makeFlags, payload, what: `adding ${nameOf(object)}` };
  });
  await socket.demandBatch(begin, [clear, ...requests], end);
}

/**
 * Texts that are the same for two rulesets that do the same, one for each object. A set gives its elements in any order,
 * and in as many messages as they need: one text for each.
 */
export function keysOfRuleset(ruleset: readonly NftObject[]): string[] {
  return ruleset.flatMap((object) => {
    const { type, attributes } = object;
    const elements = type === 'element' ? attributeOf(attributes, ELEMENTS) : undefined;
    const parts = elements ? decodeAttributes(elements).map(withoutExpiration) : [encodeAttributes(attributes)];
    return parts.map((part) => `${nameOf(object)} (family ${object.family}): ${part.toString('hex')}`);
  });
}

function withoutExpiration({ value }: Attribute): Buffer {
  return encodeAttributes(decodeAttributes(value).filter((one) => typeOf(one) !== ELEMENT_EXPIRATION));
}

/** For people: `nftables chain nat/PREROUTING`. */
export function nameOf({ type, attributes }: NftObject): string {
  const own = { table: undefined, chain: CHAIN_NAME, rule: RULE_CHAIN }[type as 'table' | 'chain' | 'rule'];
  const names = [TABLE_NAME, type === 'table' ? undefined : (own ?? OBJECT_NAME)].flatMap((one) => {
    const value = one === undefined ? undefined : attributeOf(attributes, one);
    return value ? [textOf(value)] : [];
  });
  return `nftables ${type} ${names.join('/')}`;
}

/** A ruleset with what root cannot write for a user's network namespace put in other words, where it can be. */
export function portable(ruleset: readonly NftObject[]): NftObject[] {
  return ruleset.map((object) => {
    const { type, attributes } = object;
    const expressions = type === 'rule' ? attributeOf(attributes, RULE_EXPRESSIONS) : undefined;
    const written = expressions && withoutOwnerMatch(decodeAttributes(expressions));
    if (!written) return object;
    const value = encodeAttributes(written);
    return {
      ...object,
      attributes: attributes.map((one) => (typeOf(one) === RULE_EXPRESSIONS ? { type: one.type, value } : one)),
    };
  });
}

/** Why an object cannot be made in another network namespace; undefined where it can. */
export function nftObstacle(object: NftObject): string | undefined {
  const { type, attributes } = object;
  if (type === 'flowtable') return `${nameOf(object)}: it is bound to devices`;
  if (type === 'table' && ((attributeOf(attributes, TABLE_FLAGS)?.readUInt32BE(0) ?? 0) & OWNED) !== 0) {
    return `${nameOf(object)}: it belongs to a process`;
  }
  const hook = type === 'chain' ? attributeOf(attributes, CHAIN_HOOK) : undefined;
  const bound = hook && decodeAttributes(hook).some((one) => [HOOK_DEVICE, HOOK_DEVICES].includes(typeOf(one)));
  return bound ? `${nameOf(object)}: it is bound to a device` : undefined;
}

async function readTables(socket: NetlinkSocket): Promise<NftObject[]> {
  try {
    return await read(socket, 'table');
  } catch (error) {
    // The kernel was built without nf_tables, nfnetlink_rcv_msg.
    if (failedWith(error, 'EINVAL', 'EOPNOTSUPP')) return [];
    throw error;
  }
}

function read(socket: NetlinkSocket, type: keyof typeof TYPES, family = 0, query: Attribute[] = []) {
  const { get } = TYPES[type];
  const payload = Buffer.concat([header(family), encodeAttributes(query)]);
  return socket
    .dump({ type: messageType(get), payload, what: `listing every nftables ${type}` })
    .then((dumped) => dumped.map((message) => parse(type, message.payload)));
}

function readElements(socket: NetlinkSocket, family: number, set: readonly Attribute[]): Promise<NftObject[]> {
  const [table, name] = [TABLE_NAME, SET_NAME].map((one) => textOf(attributeOf(set, one) ?? Buffer.alloc(0)));
  return read(socket, 'element', family, [
    stringAttribute(TABLE_NAME, table ?? ''),
    stringAttribute(SET_NAME, name ?? ''),
  ]);
}

function parse(type: keyof typeof TYPES, payload: Buffer): NftObject {
  const dropped: readonly number[] = TYPES[type].dropped;
  const attributes = decodeAttributes(payload.subarray(HEADER_SIZE)).filter((one) => !dropped.includes(typeOf(one)));
  return { type, family: payload[0] ?? 0, attributes };
}

/** What the kernel wants to be told and does not dump: a number for each set, the protocol of a rule with an xtables match. */
function additions({ type, family, attributes }: NftObject, index: number): Attribute[] {
  if (type === 'set') return [bigEndian(SET_ID, index + 1)];
  if (type !== 'rule') return [];
  const compat = compatOf(family, decodeAttributes(attributeOf(attributes, RULE_EXPRESSIONS) ?? Buffer.alloc(0)));
  return compat ? [{ type: RULE_COMPAT, value: compat }] : [];
}

function bigEndian(type: number, number: number): Attribute {
  const attribute = u32Attribute(type, 0);
  attribute.value.writeUInt32BE(number);
  return attribute;
}

function messageType(type: number): number {
  return (NFTABLES << 8) | type;
}

function header(family: number, resource = 0): Buffer {
  const bytes = Buffer.alloc(HEADER_SIZE);
  bytes[0] = family;
  bytes.writeUInt16BE(resource, 2);
  return bytes;
}
