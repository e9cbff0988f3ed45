import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
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
  for await (const { bytes, cut } of splitLines(inChunks(Buffer.from(text), sizes), maxBytes)) {
    lines.push(cut ? `…${bytes}` : bytes.toString());
  }
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
    expect([String((await lines.next()).value?.bytes), handedOut]).toEqual(['one', 1]);
    expect([String((await lines.next()).value?.bytes), handedOut]).toEqual(['two', 2]);
  });

  test.each([
    ['in one piece', [10_000]],
    ['bit by bit', [1]],
    ['in pieces', [7, 100]],
  ])('takes a line of the longest length, and keeps the end of a longer one that comes %s', async (_, sizes) => {
    const longer = `${'a'.repeat(200)}${'z'.repeat(64)}`;
    const lines = [`12345678`, '123456789', longer, 'ok'];
    const text = lines.map((line) => `${line}\n`).join('');
    expect(await linesOf(text, sizes, 8)).toEqual(['12345678', '…123456789', `…${'z'.repeat(64)}`, 'ok']);
  });

  test('holds next to nothing of a line without an end', async () => {
    const piece = Buffer.alloc(2 ** 20, 'a');
    async function* endless() {
      for (let pieces = 0; pieces < 100; pieces++) yield piece;
      yield Buffer.from('\n{}\n');
    }
    const before = process.memoryUsage().arrayBuffers;
    const lines: string[] = [];
    let most = 0;
    for await (const { bytes } of splitLines(endless(), 2 ** 21)) {
      lines.push(bytes.toString());
      most = Math.max(most, process.memoryUsage().arrayBuffers - before);
    }
    expect(lines).toEqual(['a'.repeat(64), '{}']);
    expect(most).toBeLessThan(50 * 2 ** 20);
  });
});
