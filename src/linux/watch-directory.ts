import { watch } from 'chokidar';

/** What to tell of a watched directory; `name` is that of an entry right below it. */
export interface DirectoryListener {
  /** Which entries to tell of. */
  readonly kind: 'directories' | 'files';
  /** Whether to tell of those that are there already, too. */
  readonly fromStart?: boolean;
  readonly onEntry: (name: string) => void;
  /** Told of what cannot be watched, and of what `onEntry` throws. */
  readonly onError: (error: Error) => void;
}

/**
 * Tells of entries that appear and vanish right below a directory, from inotify. It may miss some under load and
 * tells nothing of what was there before unless asked to: something else has to look at everything now and then.
 * @returns a function that ends the watching
 */
export function watchDirectory(
  path: string,
  { kind, fromStart = false, onEntry, onError }: DirectoryListener,
): () => Promise<void> {
  const fail = (error: unknown) => onError(error instanceof Error ? error : new Error(String(error)));
  const below = (entry: string) => {
    try {
      if (entry.startsWith(`${path}/`)) onEntry(entry.slice(path.length + 1));
    } catch (error) {
      fail(error); // nobody else would hear it
    }
  };
  const watcher = watch(path, {
    depth: 0,
    ignoreInitial: !fromStart,
    followSymlinks: false,
    // Entries are enough: no watch on each of a thousand allocations.
    ignored: (entry, stats) =>
      entry !== path && stats !== undefined && stats.isDirectory() !== (kind === 'directories'),
  });
  if (kind === 'directories') watcher.on('addDir', below).on('unlinkDir', below);
  else watcher.on('add', below).on('unlink', below);
  watcher.on('error', fail);
  return () => watcher.close();
}
