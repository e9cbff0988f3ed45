import { dirname } from 'node:path';
import { RefusedError } from '../errors.ts';
import { canonicalPath } from './directory.ts';
import { openAbsolute } from './handle.ts';
import { O } from './libc.ts';
import { stat } from './stat.ts';

const WRITABLE_BY_OTHERS = 0o022;
const STICKY = 0o1000;

/**
 * The canonical form of a path that nobody but root can have shaped or filled, as changeableByOthers looks. Stops root from
 * reading, or running, what an operator's slip with a mode has opened to others. What is checked is what is opened a moment
 * later: who could change that in between is root.
 * @throws RefusedError `not_roots_alone` that names what is in the way; SyscallError, an Error of node:fs where it is not there
 */
export function requireRootOnly(path: string): string {
  const canonical = canonicalPath(path);
  const other = changeableByOthers(canonical);
  if (!other) return canonical;
  throw new RefusedError('not_roots_alone', `${other.found}; chown root ${other.path} && chmod go-w ${other.path}`);
}

/**
 * What on the way to a canonical path, or at its end, others than root can change, and in words how: all has to be root's and not
 * writable by others (with ACLs the group's bits are their mask, acl(5)); a sticky directory keeps others from what is root's in it.
 * @throws SyscallError where it is not there
 */
export function changeableByOthers(canonical: string): { path: string; found: string } | undefined {
  for (let part = canonical; ; part = dirname(part)) {
    using file = openAbsolute(part, O.PATH | O.NOFOLLOW);
    const { uid, mode } = stat(file);
    const isOpen = (mode & WRITABLE_BY_OTHERS) !== 0 && ((mode & STICKY) === 0 || part === canonical);
    if (uid !== 0 || isOpen) {
      const shown = `uid ${uid}, mode 0${(mode & 0o7777).toString(8)}`;
      return { path: part, found: `${part} (${shown}) can be changed by others than root` };
    }
    if (part === '/') return undefined;
  }
}
