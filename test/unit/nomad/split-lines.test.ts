import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NotYetError } from '../../../src/errors.ts';
import { splitLines } from '../../../src/nomad/split-lines.ts';

async function* inChunks(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (let turn = 0; at < bytes.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? 1;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

async function linesOf(text: string, sizes: readonly number[], maxBytes = 1000): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of splitLines(inChunks(Buffer.from(text), sizes), maxBytes)) lines.push(line);
  return lines;
}

describe('splitting a stream into lines', () => {
  test('gives the same lines however the bytes are cut up, letters of several bytes included', async () => {
    const line = fc.string({ unit: 'binary', maxLength: 20 }).map((text) => text.replaceAll('\n', '⏎'));
    const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(fc.array(line), sizes, async (lines, cuts) => {
        const text = lines.map((one) => `${one}\n`).join('');
        expect(await linesOf(text, cuts)).toEqual(lines.map((one) => Buffer.from(one).toString()));
      }),
    );
  });

  test('drops what stands behind the last newline', async () => {
    expect(await linesOf('{}\n{"Index":', [3])).toEqual(['{}']);
  });

  test('gives a line before the next one has come', async () => {
    let handedOut = 0;
    async function* source() {
      for (const text of ['one\nt', 'wo\n']) {
        handedOut += 1;
        yield Buffer.from(text);
      }
    }
    const lines = splitLines(source(), 100);
    expect([(await lines.next()).value, handedOut]).toEqual(['one', 1]);
    expect([(await lines.next()).value, handedOut]).toEqual(['two', 2]);
  });

  test.each([
    ['in one piece', [100]],
    ['bit by bit', [1]],
  ])('takes a line of the longest length and refuses a longer one that comes %s', async (_, sizes) => {
    expect(await linesOf('12345678\n', sizes, 8)).toEqual(['12345678']);
    await expect(linesOf('123456789\n', sizes, 8)).rejects.toThrow(NotYetError);
    await expect(linesOf('endless, without a newline', sizes, 8)).rejects.toThrow('at most 8 bytes');
  });
});
