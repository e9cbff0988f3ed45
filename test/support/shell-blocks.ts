import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** A command of a page, as its reader would paste it. */
export interface ShellCommand {
  /** Without the comment behind it. */
  readonly command: string;
  /** Whether its block is marked as an example: ```sh example */
  readonly isExample: boolean;
}

/** The lines of a page's fenced blocks of shell. */
export function shellCommandsOf(text: string): ShellCommand[] {
  const blocks = [...text.matchAll(/^ *```(?:sh|bash|console)( example)?$\n([\s\S]*?)^ *```$/gm)];
  return blocks.flatMap(([, example, lines = '']) =>
    lines
      .split('\n')
      .map((line) => line.replace(/\s+#.*$/, '').trim())
      .filter((command) => command !== '')
      .map((command) => ({ command, isExample: example !== undefined })),
  );
}

/**
 * The one command of a page's shell blocks that is or begins so: a test runs what the page says, and fails when it says it no more.
 * test/unit/docs/commands.test.ts finds its calls by their text.
 */
export function documentedCommand(page: string, start: string): string {
  const text = readFileSync(fileURLToPath(new URL(`../../${page}`, import.meta.url)), 'utf8');
  const run = new Set(shellCommandsOf(text).flatMap(({ command, isExample }) => (isExample ? [] : [command])));
  const found = run.has(start) ? [start] : [...run].filter((command) => command.startsWith(start));
  const [only] = found;
  if (only === undefined || found.length > 1) {
    throw new Error(`${page} has ${found.length} commands that begin with ${start}`);
  }
  return only;
}
