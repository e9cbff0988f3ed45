import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serialize } from 'node:v8';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MigrationJournal } from '../../../../src/resources/netns/migration-journal.ts';

const ID = '38272c7f-0000-4000-8000-000000000001';

let directory: string;
let journal: MigrationJournal;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'nomad-rootless-journal-'));
  mkdirSync(join(directory, 'netns'));
  journal = new MigrationJournal(directory);
});
afterEach(() => rmSync(directory, { recursive: true }));

function write(content: Buffer): void {
  writeFileSync(join(directory, 'netns', `${ID}.migration`), content);
}

test('has no migration of an allocation where none was begun', () => {
  expect(journal.record(ID)).toBeUndefined();
  expect(journal.ids()).toEqual([]);
});

test.each([
  ['of another format', serialize({ format: 0, record: {} })],
  ['that is no record at all', serialize(null)],
  ['that is no such file', Buffer.from('{}')],
  ['that is empty', Buffer.alloc(0)],
])('takes nothing for a migration %s', (_, content) => {
  write(content);
  expect(() => journal.record(ID)).toThrow(/netns\/38272c7f.*: expected a migration of format 1, got another, or none/);
  expect(journal.ids()).toEqual([ID]);
});
