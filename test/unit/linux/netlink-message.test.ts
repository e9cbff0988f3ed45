import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ParseError } from '../../../src/errors.ts';
import {
  attributeOf,
  decodeAttributes,
  decodeMessages,
  encodeAttributes,
  encodeMessage,
  stringAttribute,
  textOf,
  u32Attribute,
} from '../../../src/linux/net/netlink-message.ts';

const attribute = fc.record({
  type: fc.integer({ min: 0, max: 0xffff }),
  value: fc.uint8Array({ maxLength: 70 }).map((bytes) => Buffer.from(bytes)),
});
const message = fc.record({
  type: fc.integer({ min: 0, max: 0xffff }),
  flags: fc.integer({ min: 0, max: 0xffff }),
  sequence: fc.integer({ min: 0, max: 0xffffffff }),
  payload: fc.uint8Array({ maxLength: 70 }).map((bytes) => Buffer.from(bytes)),
});

describe('netlink', () => {
  test('attributes are read as they were written', () => {
    fc.assert(
      fc.property(fc.array(attribute), (attributes) => {
        expect(decodeAttributes(encodeAttributes(attributes))).toEqual(attributes);
      }),
    );
  });

  test('messages are read as they were written, one behind another', () => {
    fc.assert(
      fc.property(fc.array(message), (messages) => {
        expect(decodeMessages(Buffer.concat(messages.map(encodeMessage)))).toEqual(messages);
      }),
    );
  });

  test('bytes of any kind are read to their end or refused, and never beyond it', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 100 }),
        fc.constantFrom(decodeAttributes, decodeMessages),
        (bytes, decode) => {
          try {
            for (const { type } of decode(Buffer.from(bytes))) expect(type).toBeLessThanOrEqual(0xffff);
          } catch (error) {
            expect(error).toBeInstanceOf(ParseError);
          }
        },
      ),
    );
  });

  test('an attribute is found whatever its flags, and the first one where there are several', () => {
    const attributes = [u32Attribute(7 | 0x8000, 1), u32Attribute(7, 2), stringAttribute(3, 'eth0')];
    expect(attributeOf(attributes, 7)?.readUInt32LE(0)).toBe(1);
    expect(textOf(attributeOf(attributes, 3) ?? Buffer.alloc(0))).toBe('eth0');
    expect(attributeOf(attributes, 4)).toBeUndefined();
  });
});
