import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { until } from './until.ts';

/** Of so long a process at rest runs less than a tenth. */
const REST_MS = 500;

/** USER_HZ, in which /proc counts (proc_pid_stat(5)): 100 on all of Linux's common architectures. */
const TICKS_PER_SECOND = 100;

/** The seconds that a process's threads have run so far, for themselves and in the kernel: however busy the machine is. */
export function cpuSecondsOf(pid: number): number {
  return cpuSecondsIn(`/proc/${pid}/stat`);
}

/** Those that its main thread alone has run. */
export function mainThreadSecondsOf(pid: number): number {
  return cpuSecondsIn(`/proc/${pid}/task/${pid}/stat`);
}

/** Waits until a process hardly runs for a while: what goes round in circles never comes to rest. */
export async function untilAtRest(pid: number): Promise<void> {
  await until(`process ${pid} is at rest`, async () => {
    const before = cpuSecondsOf(pid);
    await pause(REST_MS);
    return cpuSecondsOf(pid) - before < REST_MS / 10_000;
  });
}

function cpuSecondsIn(file: string): number {
  const stat = readFileSync(file, 'utf8');
  // The 2nd field is a name in parentheses; utime and stime are the 14th and the 15th.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}
