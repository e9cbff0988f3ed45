import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { delimiter, dirname } from 'node:path';
import { cpuSecondsOf } from '../support/cpu-seconds.ts';

const KIB = 1024;
/** A process whose time and memory are of interest; this process's own Node.js is the `node` on its PATH. */
export class MeasuredProcess implements AsyncDisposable {
  /** Its exit code, or null after a signal. */
  readonly ended: Promise<number | null>;
  readonly #child: ChildProcess;

  /** Starts it. @param outputFile what its output is appended to; thrown away without one */
  constructor([program = '', ...args]: readonly string[], outputFile = '/dev/null') {
    const output = openSync(outputFile, 'a');
    const env = { ...process.env, PATH: [dirname(process.execPath), process.env.PATH].join(delimiter) };
    this.#child = spawn(program, args, { stdio: ['ignore', output, output], env });
    closeSync(output);
    this.ended = once(this.#child, 'exit').then(([code]: (number | null)[]) => code ?? null);
  }

  /** Whether it has not ended, as far as this process was told. */
  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** The seconds that its threads have run so far, for themselves and in the kernel. */
  cpuSeconds(): number {
    return cpuSecondsOf(this.#child.pid ?? 0);
  }

  /** A field of /proc/PID/status (proc_pid_status(5)) that is given in kB, as MiB. */
  memory(field: 'VmRSS' | 'VmHWM'): number {
    const status = readFileSync(`/proc/${this.#child.pid}/status`, 'utf8');
    const kilobytes = new RegExp(`^${field}:\\s*(\\d+) kB$`, 'm').exec(status)?.[1];
    if (kilobytes === undefined) throw new Error(`the /proc status of ${this.#child.spawnfile} has no ${field}`);
    return Number(kilobytes) / KIB;
  }

  /** Ends it as systemd does, and waits until it has. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.isRunning) return;
    this.#child.kill('SIGTERM');
    await this.ended;
  }
}
