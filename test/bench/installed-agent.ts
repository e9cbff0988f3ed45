import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { AgentProcess } from '../support/agent.ts';
import { mustRun } from '../support/command.ts';
import { until } from '../support/until.ts';
import { MeasuredProcess } from './measured-process.ts';

const BUILD = fileURLToPath(new URL('../../scripts/build.ts', import.meta.url));

/** The agent as it is installed: built, and run by its file name. From its sources it takes more memory. */
export class InstalledAgent extends MeasuredProcess {
  readonly #logFile: string;

  constructor(argv: readonly string[], logFile: string) {
    super(argv, logFile);
    this.#logFile = logFile;
  }

  /** The lines of its log so far, as JSON. */
  log(): Record<string, unknown>[] {
    return this.output()
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
  }

  /** All that it has written so far. */
  output(): string {
    return readFileSync(this.#logFile, 'utf8');
  }
}

/** Builds the program into a directory. @returns its path */
export async function installProgram(directory: string): Promise<string> {
  await mustRun([process.execPath, BUILD, directory]);
  return join(directory, 'nomad-rootless.mjs');
}

/**
 * Starts the program as an agent.
 * @param program as installProgram gives it
 * @param agent whose configuration it takes; that one itself is not started
 * @throws Error with its log when it ends before it is attached to Nomad
 */
export async function startInstalledAgent(program: string, agent: AgentProcess): Promise<InstalledAgent> {
  const installed = new InstalledAgent([program, 'agent', '--config', agent.configFile], `${program}.log`);
  await until('the agent is attached to Nomad', async () => {
    if (!installed.isRunning) return 'ended';
    return (await agent.metric('nomad_rootless_event_stream_connected')) === 1 && 'attached';
  }).then((state) => {
    if (state === 'ended') throw new Error(`the agent has ended:\n${installed.output()}`);
  });
  return installed;
}
