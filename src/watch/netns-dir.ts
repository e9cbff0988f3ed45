import { messageOf } from '../errors.ts';
import { watchDirectory } from '../linux/watch-directory.ts';
import type { Log } from '../log.ts';
import { isAllocationId } from '../model/allocation.ts';

/** What watchNetnsDir works with; `netnsDir` is where Nomad mounts the network namespaces of allocations. */
export interface NetnsDirWatchOptions {
  readonly netnsDir: string;
  readonly onAllocation: (id: string) => void;
  readonly log: Log;
}

/**
 * Emits the id of an allocation when Nomad begins or ends its network: it then makes or removes the file that the network
 * namespace is mounted on.
 * @returns a function that ends the watching
 */
export function watchNetnsDir({ netnsDir, onAllocation, log }: NetnsDirWatchOptions): () => Promise<void> {
  return watchDirectory(netnsDir, {
    kind: 'files',
    onEntry: (name) => {
      if (isAllocationId(name)) onAllocation(name);
    },
    onError: (error) => log.warn({ path: netnsDir, code: 'watch' }, `watching ${netnsDir}: ${messageOf(error)}`),
  });
}
