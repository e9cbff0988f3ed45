import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { signalAfter } from '../../clock.ts';
import { messageOf, NotYetError } from '../../errors.ts';
import type { Handle } from '../handle.ts';
import { ProcessHandle } from '../process.ts';

/** util-linux and coreutils, where every distribution has them. */
const UNSHARE = '/usr/bin/unshare';
const CAT = '/usr/bin/cat';
/** The kernel makes a network namespace only with the lock of its networks, which a user can hold for as long as she likes. */
const TIMEOUT_MS = 5000;

/**
 * Makes a network namespace of the host's root, which lives as long as the handle: by a child, so that only the child waits
 * where the kernel waits.
 * @throws NotYetError `no_network_namespace`
 */
export async function makeFreshNetworkNamespace(): Promise<Handle> {
  const signal = signalAfter(TIMEOUT_MS);
  // Where there is no descriptor left it has no stdin and no stdout, whatever its type says; its error comes later.
  const child: ChildProcess = spawn(UNSHARE, ['--net', CAT], {
    ...{ cwd: '/', env: {}, signal },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const failed = new Promise<never>((_, reject) => {
    const fail = (why: string, cause?: unknown) =>
      reject(new NotYetError('no_network_namespace', `cannot make a network namespace: ${why}`, cause));
    child.on('error', (error) => fail(messageOf(error), error));
    child.once('exit', (code, signal) => fail(`${UNSHARE} ended with ${code ?? signal}`));
  });
  failed.catch(() => undefined); // it ends in the end, and nobody waits for that
  child.stdin?.on('error', () => undefined); // it ended before it read: its exit says so
  child.stdin?.write('\n');
  try {
    await (child.stdout ? Promise.race([once(child.stdout, 'data'), failed]) : failed);
    using process = ProcessHandle.open(child.pid ?? 0);
    return process ? process.openNamespace('net') : await failed;
  } finally {
    child.kill('SIGKILL');
  }
}
