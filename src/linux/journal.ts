import { NotYetError } from '../errors.ts';
import { fileIsThere } from './read-file.ts';
import { runTool } from './run-tool.ts';

const JOURNALCTL = '/usr/bin/journalctl';

/** How much of a log. */
interface JournalLimits {
  readonly lines: number;
  readonly mostBytes: number;
  readonly signal: AbortSignal;
}

/** The last lines of a unit's log, journalctl(1). @throws NotYetError `no_journal` */
export async function lastLogLines(unit: string, { lines, ...limits }: JournalLimits): Promise<string> {
  if (!fileIsThere(JOURNALCTL)) throw new NotYetError('no_journal', `${JOURNALCTL} is not there`);
  const args = [`--unit=${unit}`, `--lines=${lines}`, '--no-pager', '--quiet', '--output=short-iso'];
  const { stdout, stderr, error } = await runTool(JOURNALCTL, args, limits);
  if (error) throw new NotYetError('no_journal', `journalctl: ${stderr.trim() || error.message}`, error);
  return stdout;
}
