import { AsyncLocalStorage } from 'node:async_hooks';
import PQueue from 'p-queue';
import { signalAfter } from '../../clock.ts';
import { NotYetError } from '../../errors.ts';

/**
 * The kernel has one lock for all networks (rtnl), and holds it while it waits for a link that moves to be seen
 * everywhere, some 15 ms. Whoever else needs it waits: moves and kernel parameters one after another, and not on a
 * thread of the pool each, of which there are four.
 */
const holding = new PQueue({ concurrency: 1 });
/** What waits in the kernel, and for the lock not for long; one thread of the pool stays free for files. */
const asking = new PQueue({ concurrency: 2 });
/** The kernel has one lock for the tables of iptables-legacy, too. */
const tables = new PQueue({ concurrency: 1 });

/**
 * Any user can hold these locks for any length of time, by a system call that answers into memory that is a file on a
 * FUSE filesystem of the user's. The whole host then waits; of us no more than the threads that wait in the kernel, whatever ends
 * that. Everybody else who comes gives up after this time, having done nothing, and tries again later.
 */
const LONGEST_WAIT_MS = 5000;

/** Set in a block that has its turn: it needs none for the parts of it. */
const hasTurn = new AsyncLocalStorage<true>();

/**
 * Does what holds the lock of the kernel's networks for long. Within, the functions of this file wait for nobody.
 * @throws what the block throws, NotYetError `kernel_busy`
 */
export function whileHolding<T>(block: () => Promise<T>): Promise<T> {
  if (hasTurn.getStore()) return block();
  return enter(holding, () => hasTurn.run(true, block));
}

/**
 * Does at once what the kernel would not wait for asleep: where a parameter needs the lock and another one has it, the
 * kernel tries again and again on the processor. @throws as whileHolding
 */
export function whileFree<T>(block: () => Promise<T>): Promise<T> {
  return hasTurn.getStore() ? block() : enter(holding, block, 1);
}

/** Does what waits on a thread of the pool. @throws as whileHolding */
export function inTurn<T>(block: () => Promise<T>): Promise<T> {
  return hasTurn.getStore() ? block() : enter(asking, block);
}

/** Does what needs the lock of the tables of iptables-legacy, on a thread of the pool. @throws as whileHolding */
export function withTables<T>(block: () => Promise<T>): Promise<T> {
  return enter(tables, () => inTurn(block));
}

function enter<T>(queue: PQueue, block: () => Promise<T>, priority = 0): Promise<T> {
  if (queue.pending < queue.concurrency) return queue.add(block); // its turn, without what waiting for one costs
  const patience = signalAfter(LONGEST_WAIT_MS);
  const waiting = new AbortController();
  const giveUp = () => {
    const message = `the kernel has not answered an earlier request about networks for ${LONGEST_WAIT_MS / 1000} s; look for a process that hangs in a system call, with: ps -eo pid,user,stat,wchan:32,cmd`;
    waiting.abort(new NotYetError('kernel_busy', message));
  };
  patience.addEventListener('abort', giveUp);
  return queue.add(
    () => {
      patience.removeEventListener('abort', giveUp);
      return block();
    },
    { priority, signal: waiting.signal },
  );
}
