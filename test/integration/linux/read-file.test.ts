import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { readIfThere } from '../../../src/linux/read-file.ts';

const directory = mkdtempSync(join(tmpdir(), 'read-file-'));
const path = join(directory, 'file');
afterAll(() => rmSync(directory, { recursive: true }));

/** Below, at and above the size of the first buffer. */
const SIZES = [0, 1, 64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 300_000];

test.each(SIZES)('a file of %i bytes is read whole where it may have as many, and more', (size) => {
  const bytes = Buffer.from(Array.from({ length: size }, (_, at) => at % 251));
  writeFileSync(path, bytes);
  for (const most of [size, size + 1, 2 * size, 1024 * 1024]) {
    expect(readIfThere(path, most)?.equals(bytes), `at most ${most}`).toBe(true);
  }
});

test.each(SIZES.filter((size) => size > 0))('a file of %i bytes is refused where it may have one less', (size) => {
  writeFileSync(path, Buffer.alloc(size));
  const message = `${path}: expected at most ${size - 1} bytes, got more`;
  expect(() => readIfThere(path, size - 1)).toThrow(expect.objectContaining({ code: 'file_too_large', message }));
});

test('a file that is not there, nor the directory on the way, is none', () => {
  writeFileSync(path, '');
  expect(readIfThere(join(directory, 'none'), 10)).toBeUndefined();
  expect(readIfThere(join(path, 'none'), 10)).toBeUndefined();
});
