import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { allCommands } from '../../src/cli/commands.ts';
import { mustRun, runCommand } from '../support/command.ts';
import { builtPackage } from '../support/packages/built.ts';
import { requires } from '../support/requires.ts';

const BASH = 'usr/share/bash-completion/completions/nomad-rootless';
const FISH = 'usr/share/fish/vendor_completions.d/nomad-rootless.fish';
const ZSH = 'usr/share/zsh/vendor-completions/_nomad-rootless';
/** What is typed, and what it may become. */
const TYPED: [string, string][] = [
  ['nomad-rootless set', 'setup'],
  ['nomad-rootless setup --dr', '--dry-run'],
  ['nomad-rootless status --js', '--json'],
  ['nomad-rootless doctor --user roo', 'root'],
  ['nomad-rootless setup roo', 'root'],
  ['nomad-rootless status --config /etc/host', '/etc/hostname'],
];

requires('packages')('what is made of the program and its commands', () => {
  let root: string;

  beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), 'nomad-rootless-unpacked-'));
    await mustRun(['tar', '--extract', '--gzip', '--file', builtPackage('once', '.tar.gz'), '--directory', root]);
  });
  afterAll(() => rmSync(root, { recursive: true }));

  test('is a manual page for each command, and one for the configuration', () => {
    const pages = (section: number) => readdirSync(join(root, `usr/share/man/man${section}`)).sort();
    const ofCommands = allCommands().map((command) => `nomad-rootless-${command.name()}.8.gz`);
    expect(pages(8)).toEqual(['nomad-rootless.8.gz', ...ofCommands].sort());
    expect(pages(5)).toEqual(['nomad-rootless.5.gz']);
  });

  test('is read by mandoc without a warning', async () => {
    const directory = join(root, 'usr/share/man');
    const pages = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.gz'));
    expect(pages.length).toBeGreaterThan(allCommands().length);
    const read = async (page: string) => {
      const input = gunzipSync(readFileSync(join(directory, page))).toString();
      return runCommand(['mandoc', '-Tlint', '-Wwarning'], { input });
    };
    const said = await Promise.all(pages.map(async (page) => ({ page, ...(await read(page)) })));
    expect(said).toEqual(pages.map((page) => ({ page, code: 0, stdout: '', stderr: '' })));
  });

  test.each(TYPED)('completes `%s` in Bash', async (typed, expected) => {
    // compopt is for a completion that Bash itself has asked for.
    const script = `compopt() { :; }; . "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _nomad_rootless; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const words = typed.split(' ');
    const offered = await mustRun(['bash', '-euc', script, 'bash', join(root, BASH), ...words]);
    expect(offered.split('\n')).toContain(expected);
  });

  test.each(TYPED)('completes `%s` in fish', async (typed, expected) => {
    const home = join(root, 'home');
    mkdirSync(home, { recursive: true });
    const script = `source ${join(root, FISH)}; complete --do-complete=${JSON.stringify(typed)}`;
    const offered = await mustRun(['fish', '--no-config', '--command', script], {
      env: { PATH: process.env['PATH'] ?? '', HOME: home },
    });
    expect(offered.split('\n').map((line) => line.split('\t')[0])).toContain(expected);
  });

  test('is read by zsh without a complaint', async () => {
    const said = await runCommand(['zsh', '--no-rcs', '--no-exec', join(root, ZSH)]);
    expect(said).toEqual({ code: 0, stdout: '', stderr: '' });
  });
});
