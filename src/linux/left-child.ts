import type { ChildProcess } from 'node:child_process';
import { NotYetError } from '../errors.ts';

/** Of each user, the children of ours that run as her, whose time is up, and that have not ended all the same. */
const left = new Map<number, Set<ChildProcess>>();

/**
 * Stops a user from filling our cgroup and our table of descriptors with children that do not end when they are killed: one that
 * waits for a filesystem of the user's, or one that she traces.
 * @throws NotYetError `user_child_left` while there is one
 */
export function requireNoneLeft(uid: number): void {
  const [child] = left.get(uid) ?? [];
  if (!child) return;
  const remedy = 'unmount the filesystem that it waits for, or end the process that traces it';
  const message = `process ${child.pid}, which was to read files of uid ${uid}, does not end; ${remedy}`;
  throw new NotYetError('user_child_left', message);
}

/** A child that runs as a user has had its time: none is started beside it until it has ended, and nobody waits for that. */
export function noteLeft(uid: number, child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  for (const stream of child.stdio) stream?.destroy();
  child.unref();
  const children = left.get(uid) ?? new Set();
  left.set(uid, children.add(child));
  child.once('exit', () => {
    children.delete(child);
    if (children.size === 0) left.delete(uid);
  });
}
