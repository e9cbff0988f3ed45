import { ParseError } from '../../errors.ts';

/** A netlink message without its header, netlink(7); `payload` is the protocol's own header and the attributes behind it. */
export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly payload: Buffer;
}

/** An attribute, struct nlattr; `type` with its two flag bits, as the kernel wrote it. */
export interface Attribute {
  readonly type: number;
  readonly value: Buffer;
}

/** sizeof(struct nlmsghdr): length (u32), type, flags (u16), sequence, port (u32), include/uapi/linux/netlink.h. */
const HEADER_SIZE = 16;
/** sizeof(struct nlattr): length, type (u16). */
const ATTRIBUTE_HEADER_SIZE = 4;
/** NLA_TYPE_MASK: without NLA_F_NESTED and NLA_F_NET_BYTEORDER. */
const TYPE_MASK = 0x3fff;

/** NLMSG_ALIGN and NLA_ALIGN: both align to four bytes. */
function aligned(length: number): number {
  return (length + 3) & ~3;
}

/** A message as it is sent. The port stays 0: the kernel fills in the sender's. */
export function encodeMessage({ type, flags, sequence, payload }: NetlinkMessage): Buffer {
  const bytes = Buffer.alloc(aligned(HEADER_SIZE + payload.length));
  bytes.writeUInt32LE(HEADER_SIZE + payload.length, 0);
  bytes.writeUInt16LE(type, 4);
  bytes.writeUInt16LE(flags, 6);
  bytes.writeUInt32LE(sequence, 8);
  payload.copy(bytes, HEADER_SIZE);
  return bytes;
}

/** The messages in what was received. @throws ParseError where they do not fit */
export function decodeMessages(bytes: Buffer): NetlinkMessage[] {
  const messages: NetlinkMessage[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = at + HEADER_SIZE <= bytes.length ? bytes.readUInt32LE(at) : 0;
    if (length < HEADER_SIZE || at + length > bytes.length) throw misshapen('message', length, bytes.length - at);
    messages.push({
      type: bytes.readUInt16LE(at + 4),
      flags: bytes.readUInt16LE(at + 6),
      sequence: bytes.readUInt32LE(at + 8),
      payload: bytes.subarray(at + HEADER_SIZE, at + length),
    });
    at += aligned(length);
  }
  return messages;
}

/** Attributes one behind another, each padded to four bytes. */
export function encodeAttributes(attributes: readonly Attribute[]): Buffer {
  const size = attributes.reduce((sum, { value }) => sum + aligned(ATTRIBUTE_HEADER_SIZE + value.length), 0);
  const bytes = Buffer.alloc(size);
  let at = 0;
  for (const { type, value } of attributes) {
    bytes.writeUInt16LE(ATTRIBUTE_HEADER_SIZE + value.length, at);
    bytes.writeUInt16LE(type, at + 2);
    value.copy(bytes, at + ATTRIBUTE_HEADER_SIZE);
    at += aligned(ATTRIBUTE_HEADER_SIZE + value.length);
  }
  return bytes;
}

/** The attributes in a range of bytes, in their order. @throws ParseError where they do not fit */
export function decodeAttributes(bytes: Buffer): Attribute[] {
  const attributes: Attribute[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = at + ATTRIBUTE_HEADER_SIZE <= bytes.length ? bytes.readUInt16LE(at) : 0;
    if (length < ATTRIBUTE_HEADER_SIZE || at + length > bytes.length) {
      throw misshapen('attribute', length, bytes.length - at);
    }
    const value = bytes.subarray(at + ATTRIBUTE_HEADER_SIZE, at + length);
    attributes.push({ type: bytes.readUInt16LE(at + 2), value });
    at += aligned(length);
  }
  return attributes;
}

/** The first attribute of a type, whatever its flag bits. */
export function attributeOf(attributes: readonly Attribute[], type: number): Buffer | undefined {
  return attributes.find((one) => typeOf(one) === type)?.value;
}

/** The type of an attribute without its flag bits. */
export function typeOf({ type }: Attribute): number {
  return type & TYPE_MASK;
}

/** A string attribute with its terminating zero. */
export function stringAttribute(type: number, text: string): Attribute {
  return { type, value: Buffer.from(`${text}\0`) };
}

/** A number attribute of 32 bits in the byte order of this machine. */
export function u32Attribute(type: number, number: number): Attribute {
  const value = Buffer.alloc(4);
  value.writeUInt32LE(number);
  return { type, value };
}

/** The text of a string attribute. */
export function textOf(value: Buffer): string {
  const end = value.indexOf(0);
  return value.toString('utf8', 0, end === -1 ? value.length : end);
}

function misshapen(what: string, length: number, left: number): ParseError {
  return new ParseError(`netlink ${what}`, `a length of at most ${left} bytes`, String(length));
}
