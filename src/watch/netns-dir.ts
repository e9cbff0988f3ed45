import { watchDirectory } from '../linux/watch-directory.ts';
import { isAllocationId } from '../model/allocation.ts';

/** What watchNetnsDir works with; `netnsDir` is where Nomad mounts the network namespaces of allocations. */
export interface NetnsDirWatchOptions {
  readonly netnsDir: string;
  readonly onAllocation: (id: string) => void;
  readonly onError: (error: Error) => void;
}

/**
 * Emits the id of an allocation when Nomad begins or ends its network: it then makes or removes the file that the network
 * namespace is mounted on.
 * @returns a function that ends the watching
 */
export function watchNetnsDir({ netnsDir, onAllocation, onError }: NetnsDirWatchOptions): () => Promise<void> {
  return watchDirectory(netnsDir, {
    kind: 'files',
    onEntry: (name) => {
      if (isAllocationId(name)) onAllocation(name);
    },
    onError,
  });
}
