import { posix } from 'node:path';

/** Below it every process of the user's has a way into her view of her allocations: /proc/self/root, /proc/<pid>/cwd. */
const PROC = '/proc';

/**
 * What of the guarded directories a container would get at through an absolute path, in words: one that lies in the
 * path, the path in one of them, or /proc. Undefined where there is none. By the text alone.
 */
export function guardedBy(path: string, guarded: readonly string[]): string | undefined {
  const clean = cleaned(path);
  if (below(PROC, clean) !== undefined) return PROC;
  const contained = guarded.find((one) => below(clean, cleaned(one)) !== undefined);
  if (contained !== undefined)
    return clean === cleaned(contained) ? contained : `${clean || '/'}, which holds ${contained}`;
  const holder = guarded.find((one) => below(cleaned(one), clean) !== undefined);
  return holder && `what is in ${holder}`;
}

/** What follows `dir/`, or an empty string for `dir` itself; undefined where the path lies elsewhere. Both cleaned. */
export function below(dir: string, path: string): string | undefined {
  if (path === dir) return '';
  return path.startsWith(`${dir}/`) ? path.slice(dir.length + 1) : undefined;
}

/** Without double slashes, `.` and a slash at the end: `/` is the empty string. */
export function cleaned(path: string): string {
  const normal = posix.normalize(path);
  return normal.endsWith('/') ? normal.slice(0, -1) : normal;
}
