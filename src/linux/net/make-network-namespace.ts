import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { signalAfter } from '../../clock.ts';
import { messageOf, NotYetError } from '../../errors.ts';
import { asUser } from '../as-user.ts';
import type { Handle } from '../handle.ts';
import { noteLeft, requireNoneLeft } from '../left-child.ts';
import { owningUserNamespace, ProcessHandle } from '../process.ts';
import { isSameFile, stat } from '../stat.ts';
import { LOCKED_PARAMETERS, readLockedSysctls, type Sysctls } from './sysctl.ts';
import { PARAMETERS, SUPERSEDED_PARAMETERS } from './sysctl-names.ts';

/** util-linux and grep, where every distribution has them. */
const NSENTER = '/usr/bin/nsenter';
const UNSHARE = '/usr/bin/unshare';
const GREP = '/usr/bin/grep';
/** Prints the parameters of the network namespace with their paths, and ends when its standard input has ended. */
const PRINT_PARAMETERS = [
  ...[GREP, '--recursive', '--no-messages', '--text', '--with-filename', '--null', '--regexp='],
  ...[...LOCKED_PARAMETERS, ...SUPERSEDED_PARAMETERS].map((name) => `--exclude=${name}`),
  ...['--', PARAMETERS, '-'],
];
/** What grep calls its standard input, behind which it has printed everything else. */
const END = '(standard input)\0\n';
const MOST_BYTES = 1024 * 1024;
/** The user can stop the process for as long as she likes; traced by her, it does not even end for us when it is killed. */
const TIMEOUT_MS = 5000;

/** A network namespace that was just made, and its parameters. */
export interface NewNetworkNamespace {
  readonly netns: Handle;
  readonly sysctls: Sysctls;
}

/**
 * Makes a network namespace in a user's user namespace: a process with threads cannot enter one, so a child does it, and
 * is killed before this returns. The namespace lives as long as the handle, or what is mounted of it.
 *
 * The child is the user's: her uid, no groups, no environment, no descriptor but the pipes and the user namespace, which
 * is the user's too. So there is nothing in it that she could take over. What she makes of it
 * is checked afterwards: a network namespace that her user namespace owns. That it is a new one is not, nor what it says
 * of parameters: another one of the user's would give the user nothing new.
 * @param userNamespace the user's; `gid` her primary group
 * @throws NotYetError `no_network_namespace` where the child did not do it; as requireNoneLeft
 */
export async function makeNetworkNamespace(
  userNamespace: Handle,
  user: { readonly uid: number; readonly gid: number },
): Promise<NewNetworkNamespace> {
  requireNoneLeft(user.uid);
  const enter = [NSENTER, '--preserve-credentials', '--user=/proc/self/fd/3'];
  const signal = signalAfter(TIMEOUT_MS);
  const argv = [...enter, UNSHARE, '--net', ...PRINT_PARAMETERS];
  const child = spawn(...asUser(user, argv, { hasSession: true }), {
    detached: true,
    cwd: '/',
    env: {},
    stdio: ['pipe', 'pipe', 'pipe', userNamespace.fd],
    signal,
    killSignal: 'SIGKILL',
  });
  const ended = once(child, 'exit', { signal }).catch((error: unknown) => error);
  try {
    // It prints in blocks of which the first is full long before it comes to its input: then it is where it is to be.
    const printed = printedBy(child);
    await printed.begun;
    using made = new DisposableStack();
    const netns = made.use(openNamespaceOf(child, userNamespace));
    child.stdin?.end('\n');
    const sysctls = parametersIn(await printed.whole);
    const locked = await readLockedSysctls(netns);
    made.move();
    return { netns, sysctls: { ...sysctls, ...locked } };
  } finally {
    child.stdin?.destroy();
    child.stdout?.destroy();
    child.kill('SIGKILL');
    await ended;
    noteLeft(user.uid, child);
  }
}

/** @returns when it has begun to print, and all that it printed; both rejected as makeNetworkNamespace says */
function printedBy(child: ChildProcess): { begun: Promise<void>; whole: Promise<string> } {
  let said = '';
  child.stderr?.on('data', (bytes: Buffer) => {
    said = `${said}${bytes.toString('utf8')}`.slice(0, 500);
  });
  child.stdin?.on('error', () => undefined); // it ended before it read: its exit says so
  const begun = Promise.withResolvers<void>();
  const whole = Promise.withResolvers<string>();
  const fail = (why: string, cause?: unknown) => {
    begun.reject(failed(why, cause));
    whole.reject(failed(why, cause));
  };
  whole.promise.catch(() => undefined); // whoever waits for the beginning has it already
  let printed = '';
  child.stdout?.on('data', (bytes: Buffer) => {
    begun.resolve();
    printed += bytes.toString('latin1');
    if (printed.endsWith(END)) whole.resolve(printed.slice(0, -END.length));
    else if (printed.length > MOST_BYTES) fail('its output is too long');
  });
  child.on('error', (error) => fail(`the child that makes it: ${messageOf(error)}`, error));
  child.once('close', (code, signal) => fail(`the child ended with ${code ?? signal}: ${said.trim()}`));
  return { begun: begun.promise, whole: whole.promise };
}

function parametersIn(printed: string): Sysctls {
  const values: Record<string, string> = {};
  for (const line of printed.split('\n')) {
    const end = line.indexOf('\0');
    if (end === -1) continue;
    const path = line.slice(PARAMETERS.length + 1, end);
    const value = line.slice(end + 1);
    values[path] = values[path] === undefined ? value : `${values[path]}\n${value}`;
  }
  return values;
}

function openNamespaceOf(child: ChildProcess, userNamespace: Handle): Handle {
  using process = ProcessHandle.open(child.pid ?? 0);
  if (!process) throw failed('the process that made it has ended');
  const netns = process.openNamespace('net');
  try {
    using owner = owningUserNamespace(netns);
    // A child of ours that is not reaped yet keeps its pid; dead, it has no namespaces any more.
    if (process.isAlive() && isSameFile(stat(owner), stat(userNamespace))) return netns;
  } catch (error) {
    netns.close();
    throw error;
  }
  netns.close();
  throw failed(`what the process made is not owned by ${userNamespace.path}`);
}

function failed(why: string, cause?: unknown): NotYetError {
  return new NotYetError('no_network_namespace', `cannot make a network namespace for the user: ${why}`, cause);
}
