import { execFile } from 'node:child_process';
import { NotYetError, RefusedError } from '../errors.ts';

const GETENT = '/usr/bin/getent';
/** getent(1), EXIT STATUS: one or more supplied keys could not be found. */
const NOT_FOUND = 2;
/** A group of a directory service may have thousands of members, group(5). */
const MOST_BYTES = 4 * 1024 * 1024;

/**
 * The gid of a group of the operator's choice, through NSS, as lookUpAccount has users looked up.
 * @param group its name, or a gid, which need not be known to anybody
 * @throws RefusedError `unknown_group`; NotYetError `name_service` where it did not answer
 */
export function lookUpGroup(group: string, signal: AbortSignal): Promise<number> {
  if (/^\d+$/.test(group)) return Promise.resolve(Number(group));
  const options = { cwd: '/', env: {}, signal, killSignal: 'SIGKILL', maxBuffer: MOST_BYTES } as const;
  return new Promise((resolve, reject) => {
    execFile(GETENT, ['group', '--', group], options, (error, stdout) => {
      const gid = Number(stdout.split(':')[2] ?? Number.NaN);
      if (!error && Number.isInteger(gid)) resolve(gid);
      else if (error?.code === NOT_FOUND) reject(new RefusedError('unknown_group', `there is no group ${group}`));
      else reject(new NotYetError('name_service', `getent group ${group}`, error));
    });
  });
}
