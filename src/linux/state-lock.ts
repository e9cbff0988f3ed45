import { closeSync, constants, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { RefusedError } from '../errors.ts';
import { makeDirectories } from './directory.ts';
import { tryLock } from './file-lock.ts';

const NAME = 'lock';
/** PID_MAX_LIMIT has 7 digits. */
const MOST_BYTES = 16;

/**
 * Makes the state dir and keeps every other agent from it, as long as this process lives or the lock is let go: what two agents
 * write there would be each other's, whatever else they are configured to. The lock is the kernel's (flock(2) of a file that only root
 * can open) and ends with the process, killed or not; nobody keeps it over a restart, when there is nobody who writes.
 * @throws RefusedError `state_dir_in_use` with the pid of whoever has it; an Error of node:fs
 */
export function lockStateDir(stateDir: string): Disposable {
  makeDirectories(stateDir, 0o700);
  const path = join(stateDir, NAME);
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  try {
    if (!tryLock(path, fd)) {
      const holder = holderIn(fd);
      const who = holder === undefined ? 'another process' : `process ${holder}`;
      const message = `${stateDir} is in use by ${who}, another agent or a cleanup; stop it, or give each agent a state_dir of its own`;
      throw new RefusedError('state_dir_in_use', message);
    }
    ftruncateSync(fd);
    writeSync(fd, `${process.pid}\n`, 0);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return { [Symbol.dispose]: () => closeSync(fd) };
}

/** Undefined where the holder has not written it yet. */
function holderIn(fd: number): number | undefined {
  const buffer = Buffer.alloc(MOST_BYTES);
  const [, pid] = /^(\d{1,7})\n/.exec(buffer.toString('latin1', 0, readSync(fd, buffer, 0, MOST_BYTES, 0))) ?? [];
  return pid === undefined ? undefined : Number(pid);
}
