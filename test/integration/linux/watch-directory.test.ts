import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type DirectoryListener, watchDirectory } from '../../../src/linux/watch-directory.ts';
import { until } from '../../support/until.ts';

let top: string;
let entries: string[];
let errors: Error[];
let stop: () => void;

beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), 'watch-'));
  [entries, errors] = [[], []];
});
afterEach(() => {
  stop();
  rmSync(top, { recursive: true });
});

function start(path: string, listener: Partial<DirectoryListener> = {}): void {
  stop = watchDirectory(path, {
    onEntry: (name) => entries.push(name),
    onError: (error) => errors.push(error),
    ...listener,
  });
}

function makeDirectory(name: string): void {
  mkdirSync(join(top, name), { recursive: true });
}

async function toldOf(...names: string[]): Promise<void> {
  await until(`${names} are told of`, () => entries.length >= names.length);
  expect(entries).toEqual(names);
}

test('a watch goes on after what it tells somebody has failed, and says so', async () => {
  makeDirectory('one');
  start(top, {
    fromStart: true,
    onEntry: (name) => {
      entries.push(name);
      if (entries.length === 1) throw new Error('EMFILE: too many open files');
    },
  });
  await toldOf('one');
  makeDirectory('two');
  await toldOf('one', 'two');
  expect(errors).toMatchObject([{ message: 'EMFILE: too many open files' }]);
});

test('a watch tells of what comes and goes, and of what is there already only if asked to', async () => {
  makeDirectory('old');
  start(top);
  makeDirectory('new');
  await toldOf('new');
  rmSync(join(top, 'old'), { recursive: true });
  await toldOf('new', 'old');
});

test('a watch that has ended while it tells of what is there tells of no more', async () => {
  for (const name of ['one', 'two', 'three']) makeDirectory(name);
  start(top, {
    fromStart: true,
    onEntry: (name) => {
      entries.push(name);
      stop();
    },
  });
  await until('one is told of', () => entries.length === 1);
  makeDirectory('four');
  await setTimeout(50);
  expect(entries).toHaveLength(1);
});

test.each(['late', 'later/late'])('a directory that is not there is waited for: %s', async (name) => {
  start(join(top, name));
  await setTimeout(20);
  makeDirectory(`${name}/one`);
  await toldOf('one');
  makeDirectory(`${name}/two`);
  await toldOf('one', 'two');
  expect(errors).toEqual([]);
});

test('a link that leads nowhere is no directory yet', async () => {
  symlinkSync(join(top, 'target'), join(top, 'link'));
  start(join(top, 'link'));
  await setTimeout(50);
  rmSync(join(top, 'link'));
  makeDirectory('link/one');
  await toldOf('one');
});

test('of a directory that comes in the place of another one all is told', async () => {
  makeDirectory('here');
  makeDirectory('next/one');
  start(join(top, 'here'));
  renameSync(join(top, 'here'), join(top, 'away'));
  renameSync(join(top, 'next'), join(top, 'here'));
  await toldOf('one');
  makeDirectory('here/two');
  await toldOf('one', 'two');
});

test('an entry that has the name of its directory is told of', async () => {
  makeDirectory('same');
  start(join(top, 'same'));
  makeDirectory('same/same');
  await toldOf('same');
});

test('what cannot be watched is said', () => {
  start(join(top, 'n'.repeat(300)));
  expect(errors).toMatchObject([{ code: 'ENAMETOOLONG' }]);
});
