import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Chunked } from '../../../src/gate/chunked.ts';

const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`;
const END = '0\r\n\r\n';

/** @param at where the text is cut */
function read(text: string, at: readonly number[] = []): { body: string; isOver: boolean } {
  const chunked = new Chunked('a log');
  const cuts = [0, ...[...at].sort((a, b) => a - b), text.length];
  const parts = cuts.slice(1).map((end, index) => chunked.bytesIn(Buffer.from(text.slice(cuts[index], end), 'latin1')));
  return { body: Buffer.concat(parts).toString('latin1'), isOver: chunked.isOver };
}

describe('a chunked body', () => {
  test('is what was in its chunks, however they and what is read of them are cut', () => {
    const text = fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(fc.array(text), fc.array(fc.nat(400)), (texts, cuts) => {
        const sent = texts.map(chunk).join('') + END;
        expect(
          read(
            sent,
            cuts.filter((cut) => cut < sent.length),
          ),
        ).toEqual({ body: texts.join(''), isOver: true });
      }),
    );
  });

  test('that breaks off is what came of it', () => {
    expect(read(`${chunk('abc')}5\r\nde`)).toEqual({ body: 'abcde', isOver: false });
  });

  test('is over with its last chunk, whatever follows', () => {
    expect(read(`${chunk('abc')}${END}HTTP/1.1 200 OK\r\n`)).toEqual({ body: 'abc', isOver: true });
  });

  test.each([
    '\r\n',
    'x\r\n',
    '-1\r\n',
    '1;a=b\r\nx\r\n',
    '1\nx\r\n',
    '1\r\nxy\r\n',
    '1\r\nx\n',
    '123456789\r\n',
    ' 1\r\n',
  ])('is none with %j', (text) => {
    expect(() => read(text)).toThrow(/a log: expected chunks, and in them/);
  });
});
