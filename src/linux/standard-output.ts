import { fstatSync } from 'node:fs';
import { isatty } from 'node:tty';

const STDOUT = 1;

/** Where standard output goes. */
export type StandardOutput = 'terminal' | 'journal' | 'other';

/**
 * Where our standard output goes. That it is the journal is what systemd says and the device and inode show, as
 * systemd.exec(5) has it of JOURNAL_STREAM: the variable alone is inherited by whatever a service starts.
 */
export function standardOutput({
  JOURNAL_STREAM: stream,
}: Readonly<Record<string, string | undefined>>): StandardOutput {
  if (isatty(STDOUT)) return 'terminal';
  const { dev, ino } = fstatSync(STDOUT, { bigint: true });
  return stream === `${dev}:${ino}` ? 'journal' : 'other';
}
