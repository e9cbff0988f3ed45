import { mkdtempSync, rmSync } from 'node:fs';
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

const NONE = new Handle(-1, 'none');

function ownerOf(uid: number) {
  return { name: `user-${uid}`, uid, gid: uid, socket: '/nowhere' };
}

/** Migrations whose first step, to take a spare namespace, ends when the test says so. */
function stage() {
  const begun: string[] = [];
  const ends: (() => void)[] = [];
  const migration = new NetnsMigration({
    directory: new NetnsDirectory(base),
    journal: new MigrationJournal(base),
    spares: {
      keep: () => undefined,
      take: (owner) => {
        begun.push(owner.name);
        return new Promise((_, reject) => ends.push(() => reject(new Error('no spare'))));
      },
    },
    cache: { read: () => [] },
    pluginDirs: [],
    clock: systemClock,
  });
  const begin = (uid: number) => migration.begin('id', NONE, ownerOf(uid), NONE).catch((error: Error) => error.message);
  return { begun, ends, begin };
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
