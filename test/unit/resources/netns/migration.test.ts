import { mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { systemClock } from '../../../../src/clock.ts';
import { Handle } from '../../../../src/linux/handle.ts';
import { NetnsMigration } from '../../../../src/resources/netns/migration.ts';
import { MigrationJournal } from '../../../../src/resources/netns/migration-journal.ts';
import { NetnsDirectory } from '../../../../src/resources/netns/netns-directory.ts';

const base = mkdtempSync(join(tmpdir(), 'migration-'));
afterAll(() => rmSync(base, { recursive: true }));

function ownerOf(uid: number) {
  return { name: `user-${uid}`, uid, gid: uid, socket: '/nowhere' };
}

/** Migrations whose first step, to take the new namespace, ends when the test says so. */
function stage() {
  const begun: string[] = [];
  const ends: (() => void)[] = [];
  const migration = new NetnsMigration({
    directory: new NetnsDirectory(base),
    journal: new MigrationJournal(base),
    cache: { read: () => [] },
    pluginDirs: [],
    clock: systemClock,
  });
  const formers: Handle[] = [];
  const begin = async (uid: number) => {
    const former = new Handle(openSync('/dev/null', 'r'), 'former');
    formers.push(former);
    const owner = ownerOf(uid);
    const take = () => {
      begun.push(owner.name);
      return new Promise<never>((_, reject) => ends.push(() => reject(new Error('no spare'))));
    };
    return migration.begin('id', former, owner, take).catch((error: Error) => error.message);
  };
  return { begun, ends, begin, formers };
}

test('migrates two networks of a user at a time, and the next one when one of them has ended, well or not', async () => {
  const { begun, ends, begin } = stage();
  const all = [begin(1), begin(1), begin(1)];
  await new Promise(setImmediate);
  expect(begun).toEqual(['user-1', 'user-1']);
  ends[0]?.();
  await all[0];
  await new Promise(setImmediate);
  expect(begun).toHaveLength(3);
  for (const end of ends) end();
  expect(await Promise.all(all)).toEqual(['no spare', 'no spare', 'no spare']);
});

test('migrates the network of a user while those of another one hang', async () => {
  const { begun, begin } = stage();
  for (let at = 0; at < 3; at++) void begin(1);
  void begin(2);
  await new Promise(setImmediate);
  expect(begun).toEqual(['user-1', 'user-1', 'user-2']);
});

test('keeps the former networks of a user open until no migration of that user is left', async () => {
  const { ends, begin, formers } = stage();
  const isOpen = (former: Handle) => {
    try {
      return former.fd >= 0;
    } catch {
      return false;
    }
  };
  const all = [begin(1), begin(1)];
  await new Promise(setImmediate);
  ends[0]?.();
  await all[0];
  await new Promise(setImmediate);
  expect(formers.map(isOpen)).toEqual([true, true]);
  ends[1]?.();
  await all[1];
  await new Promise(setImmediate);
  expect(formers.map(isOpen)).toEqual([false, false]);
});
