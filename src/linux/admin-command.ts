import { signalAfter } from '../clock.ts';
import { RootlessError } from '../errors.ts';
import { runTool } from './run-tool.ts';

/** shadow's, and systemd's. */
const PROGRAMS: Readonly<Record<string, string>> = {
  usermod: '/usr/sbin/usermod',
  loginctl: '/usr/bin/loginctl',
  systemctl: '/usr/bin/systemctl',
};
/** A user manager that starts, or a slice that stops. */
const TIMEOUT_MS = 120_000;
const MOST_BYTES = 1024 * 1024;

/** Runs one of these programs to its end. @throws RootlessError `command_failed` with what it wrote */
export async function runAdminCommand([program = '', ...args]: readonly string[]): Promise<void> {
  const path = PROGRAMS[program];
  if (path === undefined) throw new TypeError(`${program} is none of ${Object.keys(PROGRAMS).join(', ')}`);
  const signal = signalAfter(TIMEOUT_MS);
  const { stderr, error } = await runTool(path, args, { signal, mostBytes: MOST_BYTES });
  if (!error) return;
  const message = `${[program, ...args].join(' ')}: ${stderr.trim() || error.message}`;
  throw new RootlessError(message, { code: 'command_failed', retryable: false, cause: undefined });
}
