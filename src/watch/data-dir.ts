import { watchDirectory } from '../linux/watch-directory.ts';
import { isAllocationId } from '../model/allocation.ts';

/** What watchDataDir works with; `allocDir` is where the allocations' directories lie. */
export interface DataDirWatchOptions {
  readonly allocDir: string;
  readonly onAllocation: (id: string) => void;
  readonly onError: (error: Error) => void;
}

/**
 * Emits the id of an allocation when its directory appears or vanishes: on this host that is the first sign of it.
 * @returns a function that ends the watching
 */
export function watchDataDir({ allocDir, onAllocation, onError }: DataDirWatchOptions): () => Promise<void> {
  return watchDirectory(allocDir, {
    kind: 'directories',
    onEntry: (name) => {
      if (isAllocationId(name)) onAllocation(name);
    },
    onError,
  });
}
