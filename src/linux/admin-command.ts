import { execFile } from 'node:child_process';
import { RootlessError } from '../errors.ts';

/** shadow's, and systemd's. */
const PROGRAMS: Readonly<Record<string, string>> = {
  usermod: '/usr/sbin/usermod',
  loginctl: '/usr/bin/loginctl',
  systemctl: '/usr/bin/systemctl',
};
/** A user manager that starts, or a slice that stops. */
const TIMEOUT_MS = 120_000;

/** Runs one of these programs to its end. @throws RootlessError `command_failed` with what it wrote */
export function runAdminCommand([program = '', ...args]: readonly string[]): Promise<void> {
  const path = PROGRAMS[program];
  if (path === undefined) throw new TypeError(`${program} is none of ${Object.keys(PROGRAMS).join(', ')}`);
  const options = { cwd: '/', env: {}, signal: AbortSignal.timeout(TIMEOUT_MS), killSignal: 'SIGKILL' } as const;
  return new Promise((resolve, reject) => {
    execFile(path, args, options, (error, _, stderr) => {
      if (!error) return resolve();
      const message = `${[program, ...args].join(' ')}: ${stderr.trim() || error.message}`;
      reject(new RootlessError(message, { code: 'command_failed', retryable: false, cause: undefined }));
    });
  });
}
