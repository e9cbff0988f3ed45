import PQueue from 'p-queue';

/**
 * The kernel has one lock for all networks (rtnl), and holds it while it waits for a link that moves to be seen
 * everywhere, some 15 ms. Whoever else needs it waits: moves and kernel parameters one after another, and not on a
 * thread of the pool each, of which there are four.
 */
const holding = new PQueue({ concurrency: 1 });
/** What waits in the kernel, and for the lock not for long; one thread of the pool stays free for files. */
const asking = new PQueue({ concurrency: 2 });

/** Does what holds the lock of the kernel's networks for long. @throws what the block throws */
export function whileHolding<T>(block: () => Promise<T>): Promise<T> {
  return holding.add(block);
}

/**
 * Does at once what the kernel would not wait for: where a parameter needs the lock and another one has it, the kernel
 * tries again and again on the processor. @throws what the block throws
 */
export function whileFree<T>(block: () => T): Promise<T> {
  return holding.add(async () => block(), { priority: 1 });
}

/** Does what waits on a thread of the pool. @throws what the block throws */
export function inTurn<T>(block: () => Promise<T>): Promise<T> {
  return asking.add(block);
}
