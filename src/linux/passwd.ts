import { NotYetError, ParseError } from '../errors.ts';
import { GETENT, NOT_FOUND } from './getent.ts';
import { runTool } from './run-tool.ts';

/** A user account, as NSS has it: LDAP and SSSD users too. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  /** The home directory. */
  readonly home: string;
}

/** An entry has seven short fields, passwd(5). */
const MOST_BYTES = 64 * 1024;
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
export async function lookUpAccount(user: string | number, signal: AbortSignal): Promise<Account | undefined> {
  if (typeof user === 'string' && !NAME.test(user)) return undefined;
  const argv = ['passwd', '--', String(user)];
  const { stdout, error } = await runTool(GETENT, argv, { signal, mostBytes: MOST_BYTES });
  if (error?.code === NOT_FOUND) return undefined;
  const account = error ? undefined : accountIn(stdout);
  if (account) return account;
  const cause = error ?? new ParseError('its output', 'an entry of passwd(5)', JSON.stringify(stdout.slice(0, 200)));
  throw new NotYetError('name_service', `getent passwd ${user}`, signal.aborted ? signal.reason : cause);
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
