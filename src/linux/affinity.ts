import { schedGetaffinity, schedSetaffinity } from './libc.ts';

/** A mask for 8192 CPUs, the most that a kernel is built for (CONFIG_NR_CPUS). */
const MASK_SIZE = 1024;

/**
 * Runs a block on one CPU after another, of those that the calling thread may use, until it says that it has succeeded.
 * Afterwards the thread may use all of them again.
 * @returns whether it has
 * @throws SyscallError, and what the block throws
 */
export function onEachCpu(block: () => boolean): boolean {
  const allowed = Buffer.alloc(MASK_SIZE);
  schedGetaffinity('CPUs', 0, MASK_SIZE, allowed);
  try {
    for (let cpu = 0; cpu < MASK_SIZE * 8; cpu++) {
      const bit = 1 << (cpu % 8);
      const at = Math.floor(cpu / 8);
      if (((allowed[at] ?? 0) & bit) === 0) continue;
      const one = Buffer.alloc(MASK_SIZE);
      one[at] = bit;
      schedSetaffinity('CPUs', 0, MASK_SIZE, one);
      if (block()) return true;
    }
    return false;
  } finally {
    schedSetaffinity('CPUs', 0, MASK_SIZE, allowed);
  }
}
