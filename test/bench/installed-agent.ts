import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { AgentProcess } from '../support/agent.ts';
import { mustRun } from '../support/command.ts';
import { until } from '../support/until.ts';

const BUILD = fileURLToPath(new URL('../../scripts/build.ts', import.meta.url));
const KIB = 1024;
/** USER_HZ, in which /proc counts (proc_pid_stat(5)): 100 on all of Linux's common architectures. */
const TICKS_PER_SECOND = 100;

/** The agent as it is installed: built, and run by its file name. From its sources it takes more memory. */
export class InstalledAgent implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #logFile: string;

  constructor(child: ChildProcess, logFile: string) {
    this.#child = child;
    this.#logFile = logFile;
  }

  /** The seconds that its threads have run so far, for themselves and in the kernel. */
  cpuSeconds(): number {
    const stat = readFileSync(`/proc/${this.#child.pid}/stat`, 'utf8');
    // The 2nd field is a name in parentheses; utime and stime are the 14th and the 15th.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  }

  /** The lines of its log so far, as JSON. */
  log(): Record<string, unknown>[] {
    const lines = readFileSync(this.#logFile, 'utf8').trimEnd().split('\n');
    return lines.map((line) => JSON.parse(line));
  }

  /** A field of /proc/PID/status (proc_pid_status(5)) that is given in kB, as MiB. */
  memory(field: 'VmRSS' | 'VmHWM'): number {
    const status = readFileSync(`/proc/${this.#child.pid}/status`, 'utf8');
    const kilobytes = new RegExp(`^${field}:\\s*(\\d+) kB$`, 'm').exec(status)?.[1];
    if (kilobytes === undefined) throw new Error(`the agent's /proc status has no ${field}`);
    return Number(kilobytes) / KIB;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGTERM');
    await once(this.#child, 'exit');
  }
}

/**
 * Builds the agent into a directory and starts it.
 * @param agent whose configuration it takes; that one itself is not started
 * @throws Error with its log when it ends before it is attached to Nomad
 */
export async function startInstalledAgent(directory: string, agent: AgentProcess): Promise<InstalledAgent> {
  await mustRun([process.execPath, BUILD, directory]);
  const logFile = join(directory, 'agent.log');
  const log = openSync(logFile, 'a');
  const env = { ...process.env, PATH: [dirname(process.execPath), process.env.PATH].join(delimiter) };
  const program = join(directory, 'nomad-rootless.mjs');
  const child = spawn(program, ['agent', '--config', agent.configFile], { stdio: ['ignore', log, log], env });
  closeSync(log);
  await until('the agent is attached to Nomad', async () => {
    if (child.exitCode !== null) return 'ended';
    return (await agent.metric('nomad_rootless_event_stream_connected')) === 1 && 'attached';
  }).then((state) => {
    if (state === 'ended') throw new Error(`the agent has ended:\n${readFileSync(logFile, 'utf8')}`);
  });
  return new InstalledAgent(child, logFile);
}
