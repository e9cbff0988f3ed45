import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { PROGRAMS } from '../../../src/linux/programs.ts';

/** Asked for only where nsswitch.conf names another source than files; run by commands for operators alone. */
const NOT_EVERYWHERE = ['getsubids', 'journalctl', 'loginctl', 'systemctl'];

test('the programs that have to be there are those that the code runs', () => {
  const source = new URL('../../../src/', import.meta.url);
  const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
  const texts = files.map((name) => readFileSync(new URL(name, source), 'utf8'));
  const run = texts.flatMap((text) => [...text.matchAll(/'\/usr\/bin\/([a-z]+)'/g)].map(([, name]) => name));
  expect([...new Set(run)].sort()).toEqual([...PROGRAMS, ...NOT_EVERYWHERE].sort());
});
