import { execFile } from 'node:child_process';
import { NotYetError, ParseError } from '../errors.ts';

/** A user account, as NSS has it: LDAP and SSSD users too. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  /** The home directory. */
  readonly home: string;
}

/** glibc's, and musl-utils' on Alpine: root's program, with the NSS modules of this host. */
const GETENT = '/usr/bin/getent';
/** An entry has seven short fields, passwd(5). */
const MOST_BYTES = 64 * 1024;
/** getent(1), EXIT STATUS: one or more supplied keys could not be found. */
const NOT_FOUND = 2;
/**
 * What getent takes for a name. A key that strtoul(3) reads to its end is a uid for it, with spaces and a sign before it, and
 * modulo 2^32: "+0" would be root. LOGIN_NAME_MAX is 256.
 */
const NAME = /^(?!\s*[+-]?\d+$)[^:\0\n]{1,256}$/;

/**
 * Looks a user up by name or by numeric uid, through NSS: getent(1) in a child, so that a directory service that does not
 * answer holds up only the child. It asks as root, as the agent would: nothing of a user's is run or read.
 *
 * A service that is away is for getent(1) mostly as if it did not know the user.
 * @param user a name may be anything that a job's author wrote
 * @param signal kills the child
 * @returns undefined where there is no such user
 * @throws NotYetError `name_service` where it did not answer, or getent(1) failed
 */
export function lookUpAccount(user: string | number, signal: AbortSignal): Promise<Account | undefined> {
  if (typeof user === 'string' && !NAME.test(user)) return Promise.resolve(undefined);
  // A signal does not wait for the child's end, as the option `timeout` does: the kernel may not let it end.
  const options = { cwd: '/', env: {}, signal, killSignal: 'SIGKILL', maxBuffer: MOST_BYTES } as const;
  return new Promise((resolve, reject) => {
    execFile(GETENT, ['passwd', '--', String(user)], options, (error, stdout) => {
      if (error?.code === NOT_FOUND) return resolve(undefined);
      const account = error ? undefined : accountIn(stdout);
      if (account) return resolve(account);
      const cause =
        error ?? new ParseError('its output', 'an entry of passwd(5)', JSON.stringify(stdout.slice(0, 200)));
      reject(new NotYetError('name_service', `getent passwd ${user}`, signal.aborted ? signal.reason : cause));
    });
  });
}

/** The first entry in what getent(1) printed, passwd(5): name:password:uid:gid:gecos:home:shell. */
function accountIn(text: string): Account | undefined {
  const [name, , uid, gid, , home] = text.split('\n', 1)[0]?.split(':') ?? [];
  if (!name || !isId(uid) || !isId(gid) || home === undefined) return undefined;
  return { name, uid: Number(uid), gid: Number(gid), home };
}

/** 2^32 - 1 stands for no user, setreuid(2). */
function isId(text: string | undefined): text is string {
  return text !== undefined && /^\d{1,10}$/.test(text) && Number(text) < 2 ** 32 - 1;
}
