import { setTimeout as pause } from 'node:timers/promises';

/**
 * The most that the main thread of this process runs from one turn of its event loop to the next while something is done, in
 * milliseconds of CPU: however busy the machine is.
 */
export async function longestStepOf(work: () => unknown): Promise<number> {
  let longest = 0;
  let before = process.threadCpuUsage();
  const look = () => {
    const ran = process.threadCpuUsage(before);
    longest = Math.max(longest, (ran.user + ran.system) / 1000);
    before = process.threadCpuUsage();
  };
  const stop = new AbortController();
  const turns = (async () => {
    while (!stop.signal.aborted) {
      look();
      await pause(1);
    }
  })();
  await Promise.resolve()
    .then(work)
    .catch(() => undefined); // what it comes to is not asked here
  look();
  stop.abort();
  await turns;
  return longest;
}
