import PQueue from 'p-queue';
import { signalAfter } from '../clock.ts';
import { NotYetError } from '../errors.ts';
import { asUser } from './as-user.ts';
import { noteLeft, requireNoneLeft } from './left-child.ts';
import { runTool } from './run-tool.ts';

const GREP = '/usr/bin/grep';
const FIND = '/usr/bin/find';
const REALPATH = '/usr/bin/realpath';
/** Far more than any configuration has. */
const MOST_BYTES = 1024 * 1024;
/** A home directory on a server that is away, or a user who stops the child. Not to wait for its end: she can trace it, and then it does not. */
const TIMEOUT_MS = 3000;

/** Lines that are neither empty nor comments: distributions give a configuration hundreds of those. */
const NO_COMMENT = '^[[:space:]]*[^#[:space:]]';

const queues = new Map<number, PQueue>();

interface User {
  readonly uid: number;
  readonly gid: number;
}

/**
 * The texts of configuration files (`*.conf`) that a user chose, by path, without lines that are comments; files of
 * directories too, missing ones are left out. A child of the user's reads them, not we: a path that she makes lead elsewhere
 * leads only to what she may read, and a filesystem that hangs stops only the child.
 * @throws NotYetError `user_files_unreadable`; as requireNoneLeft
 */
export async function readConfAsUser(user: User, paths: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const search = `--regexp=${NO_COMMENT}`;
  const files = ['--recursive', '--devices=skip', '--include=*.conf', '--with-filename', '--null', search];
  return textsIn(await grep(user, files, paths));
}

/**
 * These variables of the environment of a process of a user's, proc_pid_environ(5); none where it is gone. Its owner can
 * put anything in them. A child of the user's reads them: in a process that never comes to the end of an execve(2), because it
 * closes a file on a filesystem of the user's then, nobody gets to look, and who tries waits (exec_update_lock).
 * @throws as readConfAsUser
 */
export async function environmentOf(
  user: User,
  pid: number,
  names: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const patterns = names.map((name) => `--regexp=^${name}=`);
  const output = await grep(user, ['--null-data', '--text', '--no-filename', ...patterns], [`/proc/${pid}/environ`]);
  const entries = output.split('\0').filter((entry) => entry !== '');
  return new Map(entries.map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]));
}

/**
 * Which of these processes of a user's hold one of these sockets, by the inodes that proc_pid_fd(5) names; none of those that
 * are gone. A child of the user's looks, as in environmentOf.
 * @throws as readConfAsUser
 */
export async function holdersOf(
  user: User,
  pids: readonly number[],
  inodes: ReadonlySet<string>,
): Promise<ReadonlySet<number>> {
  const directories = pids.map((pid) => `/proc/${pid}/fd`);
  const output = await run(user, [FIND, ...directories, '-maxdepth', '1', '-lname', 'socket:*', '-printf', '%H %l\\n']);
  const holders = new Set<number>();
  for (const line of output.split('\n')) {
    const [directory, socket = ''] = line.split(' ', 2);
    if (inodes.has(socket.slice('socket:['.length, -1))) holders.add(Number(directory?.split('/')[2]));
  }
  return holders;
}

/**
 * Where paths lead, canonical, in the order given: as far as the user can see, and as text from there on. A child of the user's looks, as in
 * readConfAsUser. Only to look: it may be otherwise a moment later, and in a mount namespace of the user's.
 * @param paths absolute
 * @throws as readConfAsUser
 */
export async function canonicalAsUser(user: User, paths: readonly string[]): Promise<string[]> {
  const output = await run(user, [REALPATH, '--canonicalize-missing', '--zero', '--', ...paths]);
  const canonical = output.split('\0').slice(0, -1);
  if (canonical.length === paths.length) return canonical;
  const message = `uid ${user.uid} cannot look where ${paths.join(' ').slice(0, 500)} leads`;
  throw new NotYetError('user_files_unreadable', message);
}

function grep(user: User, search: readonly string[], paths: readonly string[]): Promise<string> {
  return run(user, [GREP, '--no-messages', ...search, '--', ...paths]);
}

/** One child of a user's at a time: those that wait for her filesystem would wait beside one another. */
function run(user: User, argv: readonly string[]): Promise<string> {
  const queue = queues.get(user.uid) ?? new PQueue({ concurrency: 1 });
  queues.set(user.uid, queue);
  return queue.add(() => runNow(user, argv));
}

/** @throws as readConfAsUser; NotYetError `user_child_left` */
async function runNow(user: User, argv: readonly string[]): Promise<string> {
  requireNoneLeft(user.uid);
  const limits = { signal: signalAfter(TIMEOUT_MS), mostBytes: MOST_BYTES };
  const { stdout, error, child } = await runTool(...asUser(user, argv), limits);
  // Exit codes 1 and 2 say that there was nothing to read, or not everything.
  if (!error || error.code === 1 || error.code === 2) return stdout;
  noteLeft(user.uid, child);
  const message = `cannot look at files as uid ${user.uid}: ${argv.join(' ').slice(0, 500)}`;
  throw new NotYetError('user_files_unreadable', message, error);
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
