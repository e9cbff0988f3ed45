import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { NotYetError } from '../errors.ts';
import { asUser } from './as-user.ts';

const GREP = '/usr/bin/grep';
/** Far more than any configuration has. */
const MOST_BYTES = 1024 * 1024;
/** A home directory on a server that is away, or a user who stops the child. Not to wait for its end: she can trace it, and then it does not. */
const TIMEOUT_MS = 3000;

/**
 * The texts of configuration files (`*.conf`) that a user chose, by path; files of directories too, missing ones are
 * left out. A child of the user's reads them, not we: a path that she makes lead elsewhere leads only to what she may
 * read, and a filesystem that hangs stops only the child.
 * @throws NotYetError `user_files_unreadable`
 */
export function readConfAsUser(
  user: { readonly uid: number; readonly gid: number },
  paths: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const search = [
    '--recursive',
    '--no-messages',
    '--devices=skip',
    '--include=*.conf',
    '--with-filename',
    '--null',
    '--regexp=',
    '--',
  ];
  const options = {
    cwd: '/',
    env: {},
    signal: AbortSignal.timeout(TIMEOUT_MS),
    killSignal: 'SIGKILL',
    maxBuffer: MOST_BYTES,
  } as const;
  return new Promise((resolve, reject) => {
    execFile(...asUser(user, [GREP, ...search, ...paths]), options, (error, stdout) => {
      // Exit codes 1 and 2 say that there was nothing to read, or not everything.
      if (error && error.code !== 1 && error.code !== 2) {
        reject(new NotYetError('user_files_unreadable', `cannot read ${paths.join(', ')} as uid ${user.uid}`, error));
      } else resolve(textsIn(stdout));
    });
  });
}

function textsIn(output: string): ReadonlyMap<string, string> {
  const lines = new Map<string, string[]>();
  for (const line of output.split('\n')) {
    const end = line.indexOf('\0');
    if (end === -1) continue;
    const path = line.slice(0, end);
    const text = lines.get(path) ?? [];
    text.push(line.slice(end + 1)); // in place: a user can have any number of lines
    lines.set(path, text);
  }
  return new Map([...lines].map(([path, text]) => [path, text.join('\n')]));
}

/** The environment of a process, proc_pid_environ(5); undefined where it is gone. Its owner can put anything in it. */
export function environmentOf(pid: number): ReadonlyMap<string, string> | undefined {
  try {
    const entries = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
    return new Map(
      entries.flatMap((entry): [string, string][] => {
        const at = entry.indexOf('=');
        return at > 0 ? [[entry.slice(0, at), entry.slice(at + 1)]] : [];
      }),
    );
  } catch (error) {
    if (error instanceof Error && 'code' in error && ['ENOENT', 'ESRCH', 'EACCES'].includes(String(error.code))) {
      return undefined;
    }
    throw error;
  }
}
