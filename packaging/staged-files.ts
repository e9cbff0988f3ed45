import { readdirSync } from 'node:fs';
import { join } from 'node:path';

/** A file, directory or symlink that is staged: `path` is where it is staged, `installed` where it will be. */
export interface StagedFile {
  readonly path: string;
  readonly installed: string;
  readonly kind: 'file' | 'directory' | 'symlink';
}

/** All that is staged below a directory, sorted; no symlink is followed. */
export function stagedFiles(directory: string, below = ''): readonly StagedFile[] {
  const entries = readdirSync(join(directory, below), { withFileTypes: true });
  return entries
    .sort((one, other) => (one.name < other.name ? -1 : 1))
    .flatMap((entry) => {
      const installed = `${below}/${entry.name}`;
      const path = join(directory, installed);
      if (entry.isDirectory()) {
        return [{ path, installed, kind: 'directory' as const }, ...stagedFiles(directory, installed)];
      }
      return [{ path, installed, kind: entry.isSymbolicLink() ? ('symlink' as const) : ('file' as const) }];
    });
}
