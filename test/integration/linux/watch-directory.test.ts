import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { watchDirectory } from '../../../src/linux/watch-directory.ts';
import { until } from '../../support/until.ts';

test('a watch goes on after what it tells somebody has failed, and says so', async () => {
  const path = mkdtempSync(join(tmpdir(), 'watch-'));
  const [entries, errors]: [string[], Error[]] = [[], []];
  const onEntry = (name: string) => {
    entries.push(name);
    if (entries.length === 1) throw new Error('EMFILE: too many open files');
  };
  const stop = watchDirectory(path, {
    kind: 'directories',
    fromStart: true,
    onEntry,
    onError: (error) => errors.push(error),
  });
  mkdirSync(join(path, 'one'));
  await until('the first is told of', () => entries.length === 1);
  mkdirSync(join(path, 'two'));
  await until('the second is told of', () => entries.length === 2);
  expect(errors).toMatchObject([{ message: 'EMFILE: too many open files' }]);
  await stop();
  rmSync(path, { recursive: true });
});
