import { type Clock, rest } from '../clock.ts';
import { messageOf } from '../errors.ts';
import { printable } from '../printable.ts';
import { CommandError } from './command-error.ts';
import { EXIT } from './exit-code.ts';
import type { Terminal } from './terminal.ts';

const EACH_MS = 2000;
/** ECMA-48: the cursor to the top; erase from it to the end of the line, of the screen. Nothing is blank in between. */
const HOME = '\x1b[H';
const ERASE_LINE = '\x1b[K';
const ERASE_BELOW = '\x1b[J';
/** DECAWM of the VT100: a line that is too long is cut off, and takes one row all the same. */
const CUT = '\x1b[?7l';
const WRAP = '\x1b[?7h';

/**
 * Shows a text again and again in place of the last one, as much of it as the terminal has room for. What fails is shown in
 * its place: an agent that starts anew is what one watches.
 * @param signal ends it; without one it goes on until the process is ended
 * @throws CommandError `no_terminal` where standard output is none
 */
export async function redraw(
  text: () => Promise<string>,
  terminal: Pick<Terminal, 'write' | 'rows'>,
  clock: Pick<Clock, 'sleep'>,
  signal?: AbortSignal,
): Promise<void> {
  if (terminal.rows === undefined) {
    const message =
      'standard output is no terminal that could be redrawn; leave --watch out, or use --json for programs';
    throw new CommandError(EXIT.usage, 'no_terminal', message);
  }
  while (!signal?.aborted) {
    const shown = await text().catch((error: unknown) => `${printable(messageOf(error))}\n`);
    const lines = fitted(shown.trimEnd().split('\n'), terminal.rows ?? 0).map((line) => line + ERASE_LINE);
    terminal.write(CUT + HOME + lines.join('\n') + ERASE_BELOW + WRAP);
    await rest(clock, EACH_MS, signal);
  }
}

/** The last row says how much there is no room for. */
function fitted(lines: readonly string[], rows: number): readonly string[] {
  if (lines.length <= rows) return lines;
  const room = Math.max(0, rows - 1);
  return [...lines.slice(0, room), `${lines.length - room} lines more; nomad-rootless status shows them`];
}
