import { type FSWatcher, readdirSync, statSync, watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import { failedWith } from '../errors.ts';

/** What to tell of a watched directory; `name` is that of an entry right below it. */
export interface DirectoryListener {
  /** Whether to tell of those that are there already, too. */
  readonly fromStart?: boolean;
  readonly onEntry: (name: string) => void;
  /** Told of what cannot be watched, and of what `onEntry` throws. */
  readonly onError: (error: Error) => void;
}

/**
 * Tells of entries that appear and vanish right below a directory, from inotify(7); no entry is looked at, however many there are.
 * A directory that is not there is waited for, and of one that comes in its place all is told. It may miss some under load: something
 * else has to look at everything now and then.
 * @returns a function that ends the watching
 */
export function watchDirectory(path: string, listener: DirectoryListener): () => void {
  const begin = (fromStart: boolean): (() => void) => {
    return watchPresent(path, { ...listener, fromStart }, () => {
      stop();
      stop = begin(true);
    });
  };
  let stop = begin(listener.fromStart ?? false);
  return () => stop();
}

/** @param onReplaced told once, when it has come, has gone, or another one has its name */
function watchPresent(
  path: string,
  { fromStart, onEntry, onError }: DirectoryListener,
  onReplaced: () => void,
): () => void {
  let isStopped = false;
  const fail = (error: unknown) => onError(error instanceof Error ? error : new Error(String(error)));
  const tell = (name: string) => {
    try {
      if (!isStopped) onEntry(name);
    } catch (error) {
      fail(error); // nobody else would hear it
    }
  };
  let watcher: FSWatcher | undefined;
  try {
    watcher = watch(path);
    const { ino } = statSync(path);
    watcher.on('error', fail).on('change', (type, name) => {
      // The other type is of an entry's content and rights.
      if (type !== 'rename' || typeof name !== 'string') return;
      // Its own name says that it was moved or removed itself, or is that of an entry.
      if (name === basename(path) && inodeOf(path) !== ino) onReplaced();
      else tell(name);
    });
    const names = fromStart ? readdirSync(path) : [];
    setImmediate(() => names.forEach(tell));
    return () => {
      isStopped = true;
      watcher?.close();
    };
  } catch (error) {
    watcher?.close();
    if (failedWith(error, 'ENOENT')) return awaitEntry(path, onError, onReplaced);
    fail(error);
    return () => undefined;
  }
}

function awaitEntry(path: string, onError: (error: Error) => void, onThere: () => void): () => void {
  const onEntry = (name: string) => {
    if (name === basename(path) && inodeOf(path) !== undefined) onThere();
  };
  return watchDirectory(dirname(path), { fromStart: true, onEntry, onError });
}

function inodeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.ino;
}
