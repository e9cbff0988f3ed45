import { expect, test } from 'vitest';
import { collectYoungGarbage } from '../../src/young-garbage.ts';
import { eventually } from '../support/eventually.ts';

const PIECE = 64 * 1024;
const PIECES = 500;

/** As reading a socket does: small objects that hold bytes outside of the heap. */
function readAndForget(): number {
  let sum = 0;
  for (let piece = 0; piece < PIECES; piece++) sum += Buffer.from(new ArrayBuffer(PIECE)).length;
  return sum;
}

test('the bytes that nobody holds any more are given back', async () => {
  const before = process.memoryUsage().arrayBuffers;
  expect(readAndForget()).toBe(PIECES * PIECE);
  collectYoungGarbage();
  await eventually(() => expect(process.memoryUsage().arrayBuffers - before).toBeLessThan((PIECES * PIECE) / 2));
});

test('the way to do it is not left open to other code', () => {
  collectYoungGarbage();
  expect('gc' in globalThis).toBe(false);
});
