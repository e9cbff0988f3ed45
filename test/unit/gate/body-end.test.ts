import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ParseError } from '../../../src/errors.ts';
import { BodyEnd } from '../../../src/gate/body-end.ts';
import type { Framing } from '../../../src/gate/http-head.ts';

const CHUNKED: Framing = { kind: 'chunked' };

/** Feeds the bytes cut at these places; gives how many belong to the body, or undefined where its end is not among them. */
function lengthOf(framing: Framing, bytes: Buffer, cuts: readonly number[] = []): number | undefined {
  const end = new BodyEnd(framing);
  const points = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
  let taken = 0;
  for (let index = 1; index < points.length && !end.done; index += 1) {
    taken += end.take(bytes.subarray(points[index - 1], points[index]), 0);
  }
  return end.done ? taken : undefined;
}

const encoded = fc
  .array(fc.uint8Array({ minLength: 1, maxLength: 50 }), { maxLength: 6 })
  .map((chunks) =>
    Buffer.concat([
      ...chunks.flatMap((chunk) => [Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n')]),
      Buffer.from('0\r\n\r\n'),
    ]),
  );

describe('the end of a body', () => {
  test('of a declared length is found however the bytes are cut', () => {
    fc.assert(
      fc.property(fc.nat({ max: 200 }), fc.nat({ max: 50 }), fc.array(fc.nat({ max: 250 })), (length, more, cuts) => {
        expect(lengthOf({ kind: 'length', length }, Buffer.alloc(length + more), cuts)).toBe(length);
      }),
    );
  });

  test('of a chunked body is found however the bytes are cut', () => {
    fc.assert(
      fc.property(encoded, fc.uint8Array({ maxLength: 20 }), fc.array(fc.nat({ max: 400 })), (body, after, cuts) => {
        expect(lengthOf(CHUNKED, Buffer.concat([body, after]), cuts)).toBe(body.length);
      }),
    );
  });

  test('is not found before all has come', () => {
    fc.assert(
      fc.property(encoded, fc.nat(), (body, missing) => {
        expect(lengthOf(CHUNKED, body.subarray(0, missing % body.length))).toBeUndefined();
      }),
    );
  });

  test('that the connection gives is never found', () => {
    expect(lengthOf({ kind: 'until-close' }, Buffer.from('HTTP/1.1 101 x\r\n\r\n'))).toBeUndefined();
  });

  test.each([
    ['an extension', '5;a=b\r\nhello\r\n0\r\n\r\n'],
    ['a space after the size', '5 \r\nhello\r\n0\r\n\r\n'],
    ['a prefix', '0x5\r\nhello\r\n0\r\n\r\n'],
    ['a sign', '+5\r\nhello\r\n0\r\n\r\n'],
    ['no size', '\r\nhello\r\n0\r\n\r\n'],
    ['a size beyond 32 bits', '100000005\r\nhello\r\n0\r\n\r\n'],
    ['a bare LF after the size', '5\nhello\r\n0\r\n\r\n'],
    ['a bare CR after the size', '5\rhello\r\n0\r\n\r\n'],
    ['a chunk longer than its size', '4\r\nhello\r\n0\r\n\r\n'],
    ['a bare LF after the data', '5\r\nhello\n0\r\n\r\n'],
    ['a trailer', '5\r\nhello\r\n0\r\nX: y\r\n\r\n'],
  ])('of a chunked body with %s is refused', (_, text) => {
    expect(() => lengthOf(CHUNKED, Buffer.from(text))).toThrow(ParseError);
  });
});
