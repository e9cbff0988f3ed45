import { type DirectoryListener, watchDirectory } from '../linux/watch-directory.ts';
import { isAllocationId } from '../model/allocation.ts';

/** What watchAllocationEntries works with. */
interface AllocationEntriesOptions extends Pick<DirectoryListener, 'onError'> {
  readonly onAllocation: (id: string) => void;
}

/**
 * Emits the id of an allocation when an entry of that name appears in a directory, or vanishes: its own directory in the alloc dir,
 * which is the first sign of it on this host; the file below /run/netns that its network namespace is mounted on, when Nomad begins or
 * ends its network.
 * @returns a function that ends the watching
 */
export function watchAllocationEntries(path: string, { onAllocation, onError }: AllocationEntriesOptions): () => void {
  const onEntry = (name: string) => {
    if (isAllocationId(name)) onAllocation(name);
  };
  return watchDirectory(path, { onEntry, onError });
}
