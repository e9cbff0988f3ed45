import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { DOCUMENTS } from '../../../packaging/stage.ts';
import { withTables } from '../../../scripts/configuration-page.ts';
import { allCommands } from '../../../src/cli/commands.ts';
import { codeOf } from '../../support/markdown-code.ts';
import { sectionsOf } from '../../support/markdown-headings.ts';
import { type Page, readPages } from '../../support/pages.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const pages = readPages();
const commands = allCommands();

/** Why a line that begins with the program's name is no command line of it; undefined where it is one. */
function wrongIn(line: string): string | undefined {
  const [, name = '', ...words] = line.replaceAll(/[[\]()]/g, ' ').split(/\s+/);
  if (name === '--version' || name === '--help') return undefined;
  const command = commands.find((one) => one.name() === name);
  if (!command) return `no command ${name}`;
  const options = words.filter((word) => word.startsWith('--')).map((word) => word.replace(/=.*/, ''));
  const unknown = options.filter((option) => !command.options.some(({ long }) => long === option));
  return unknown.length === 0 ? undefined : `${name} has no ${unknown.join(', ')}`;
}

/** The links of a page to files of the project, each with the page's directory resolved. */
function linksOf({ path, text }: Page): { file: string; anchor: string | undefined }[] {
  const prose = text.replaceAll(/^ *```[\s\S]*?^ *```/gm, '').replaceAll(/`[^`]*`/g, '`');
  return [...prose.matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)/g)].map(([, link = '', anchor]) => ({
    file: link === '' ? path : normalize(join(dirname(path), link)),
    anchor,
  }));
}

/** Files and folders of the project that a page names in backticks: from its root, or, with .ts, from src/. */
function filesNamedIn(text: string): string[] {
  return codeOf(text).filter(
    (span) =>
      /^(test|src|scripts|deploy|docs|examples|openapi)\/[\w./-]*$/.test(span) || /^[\w-]+\/[\w./-]+\.ts$/.test(span),
  );
}

function leadsNowhere({ file, anchor }: { file: string; anchor: string | undefined }): boolean {
  if (!existsSync(join(ROOT, file))) return true;
  if (anchor === undefined) return false;
  return !sectionsOf(readFileSync(join(ROOT, file), 'utf8')).some((section) => section.anchor === anchor);
}

describe('the pages', () => {
  test('are those that the README leads to', () => {
    expect(pages.map(({ path }) => path)).toEqual(
      expect.arrayContaining(['README.md', 'docs/architecture.md', 'docs/configuration.md', 'examples/README.md']),
    );
    const [readme] = pages.filter(({ path }) => path === 'README.md');
    expect(readme?.text.split('\n').length).toBeLessThan(250);
  });

  test('link to files and headings that are there', () => {
    const links = pages.flatMap((page) => linksOf(page).map((link) => ({ from: page.path, ...link })));
    expect(links.length).toBeGreaterThan(50);
    expect(links.filter(leadsNowhere)).toEqual([]);
  });

  test('link to what the packages install beside them', () => {
    const isInstalled = (file: string) => DOCUMENTS.includes(file.replace(/\/.*/, ''));
    const links = pages.filter(({ path }) => isInstalled(path)).flatMap((page) => linksOf(page));
    expect(links.map(({ file }) => file).filter((file) => !isInstalled(file))).toEqual([]);
  });

  test('name files of the source and of the tests that are there', () => {
    const named = pages.flatMap(({ path, text }) => filesNamedIn(text).map((file) => ({ path, file })));
    expect(named.length).toBeGreaterThan(50);
    expect(named.filter(({ file }) => !existsSync(join(ROOT, file)) && !existsSync(join(ROOT, 'src', file)))).toEqual(
      [],
    );
  });

  test.each([
    ['From an event to a mount', 25],
    ['From a create to a verdict', 15],
  ])('walk the path %s through few files', (title, most) => {
    const page = pages.find(({ path }) => path === 'docs/architecture.md')?.text ?? '';
    const walk = sectionsOf(page).find((section) => section.title === title)?.text ?? '';
    const files = new Set(filesNamedIn(walk));
    expect(files.size).toBeGreaterThan(10);
    expect(files.size).toBeLessThanOrEqual(most);
  });

  test('show commands of the program that are there, with options that they have', () => {
    const lines = pages.flatMap(({ path, text }) =>
      codeOf(text)
        .filter((line) => /^(sudo )?nomad-rootless [a-z-]/.test(line))
        .map((line) => ({ path, line, wrong: wrongIn(line.replace(/^sudo /, '')) })),
    );
    expect(new Set(lines.map(({ line }) => line.split(' ')[1])).size).toBeGreaterThanOrEqual(commands.length);
    expect(lines.filter(({ wrong }) => wrong !== undefined)).toEqual([]);
  });

  test('show scripts of npm that are there', () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    const named = pages.flatMap(({ path, text }) =>
      [...text.matchAll(/npm (?:run )?(test|(?<=run )[a-z][a-z:]*)/g)].map(([, name = '']) => ({ path, name })),
    );
    expect(named.length).toBeGreaterThan(5);
    expect(named.filter(({ name }) => !(name in scripts))).toEqual([]);
  });

  test('have the keys of the configuration as the schema describes them', () => {
    const page = pages.find(({ path }) => path === 'docs/configuration.md')?.text ?? '';
    expect(withTables(page)).toBe(page);
  });
});

describe('a command line in a page', () => {
  test('is found wrong by its command and its options', () => {
    expect(wrongIn('nomad-rootless stauts')).toBe('no command stauts');
    expect(wrongIn('nomad-rootless setup [--dry-rum] USER…')).toBe('setup has no --dry-rum');
    expect(wrongIn('nomad-rootless setup [--dry-run] USER…')).toBeUndefined();
  });
});
