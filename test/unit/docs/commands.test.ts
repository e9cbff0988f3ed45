import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { readPages } from '../../support/pages.ts';
import { documentedCommand, shellCommandsOf } from '../../support/shell-blocks.ts';

const TESTS = fileURLToPath(new URL('../..', import.meta.url));

/** What tests run, by the page that says it: the arguments of their calls of documentedCommand. */
function runByTests(): { page: string; start: string }[] {
  const files = readdirSync(TESTS, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
  return files.flatMap((file) =>
    [...readFileSync(join(TESTS, file), 'utf8').matchAll(/\bdocumentedCommand\(\s*'([^']+)',\s*'([^']+)',?\s*\)/g)].map(
      ([, page = '', start = '']) => ({ page, start }),
    ),
  );
}

describe('the commands of the pages', () => {
  const claimed = runByTests();
  const forUsers = readPages().filter(({ path }) => path === 'README.md' || path.includes('/'));
  const commands = forUsers.flatMap(({ path, text }) => shellCommandsOf(text).map((command) => ({ path, ...command })));

  test('are run by a test, or are in a block that is marked as an example', () => {
    expect(commands.length).toBeGreaterThan(20);
    const left = commands.filter(
      ({ path, command, isExample }) =>
        !isExample && !claimed.some(({ page, start }) => page === path && command.startsWith(start)),
    );
    expect(left.map(({ path, command }) => `${path}: ${command}`)).toEqual([]);
  });

  test('that tests run are in their page, once', () => {
    expect(claimed.length).toBeGreaterThan(5);
    for (const { page, start } of claimed) expect(documentedCommand(page, start)).toContain(start);
  });
});

describe('the commands of a page', () => {
  test('are the lines of its fenced blocks of shell, without their comments', () => {
    const page = 'x\n```sh\na b   # c\n\nd\n```\n\n  ```sh example\n  e\n  ```\n```hcl\nf\n```\n';
    expect(shellCommandsOf(page)).toEqual([
      { command: 'a b', isExample: false },
      { command: 'd', isExample: false },
      { command: 'e', isExample: true },
    ]);
  });
});
