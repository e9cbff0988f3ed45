import { mkdirSync, rmSync, watch, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { AgentProcess } from '../support/agent.ts';
import { createSandbox } from '../support/sandbox.ts';
import { startStandInNomad } from '../support/stand-in-nomad.ts';
import { accepts } from './accepts.ts';
import { installProgram, startInstalledAgent } from './installed-agent.ts';
import { MeasuredProcess } from './measured-process.ts';
import { type Summary, summarize } from './samples.ts';

const USER = 'alice';
const ROUNDS = 20;
/** After so long a process with nothing to do has done what it puts off. */
const SETTLING_MS = 5000;

/** What it takes to start; milliseconds. */
export interface StartResults {
  /** Node.js with an empty file, from exec to its end. */
  readonly node: Summary;
  /** `nomad-rootless --version`, from exec to its end. */
  readonly version: Summary;
  /** The agent, from exec until its gate takes a connection. */
  readonly gate: Summary;
  /** Resident memory of what has nothing to do, MiB: Node.js with a timer, and the agent attached to Nomad. */
  readonly idle: { readonly node: number; readonly agent: number };
}

/** Starts Node.js, the program and the agent in turn, so that all see the same noise of the machine. */
export async function measureStart(): Promise<StartResults> {
  await using sandbox = await createSandbox({ users: [USER] });
  const agent = new AgentProcess(sandbox);
  await using nomad = await startStandInNomad({
    dataDir: join(sandbox.directory, 'nomad'),
    sockets: { [USER]: agent.gateSocket(USER) },
  });
  agent.configure({ nomad: { address: nomad.address }, users: { [USER]: {} }, log: { level: 'info' } });
  const program = await installProgram(join(sandbox.directory, 'installed'));
  const emptyFile = join(sandbox.directory, 'empty.mjs');
  const waitingFile = join(sandbox.directory, 'waiting.mjs');
  writeFileSync(emptyFile, '');
  writeFileSync(waitingFile, 'setInterval(() => undefined, 1 << 30);');
  const durations = { node: [] as number[], version: [] as number[], gate: [] as number[] };
  for (let round = 0; round < ROUNDS; round++) {
    durations.node.push(await timeToEnd([process.execPath, emptyFile]));
    durations.version.push(await timeToEnd([program, '--version']));
    durations.gate.push(
      await timeToConnection([program, 'agent', '--config', agent.configFile], agent.gateSocket(USER)),
    );
  }
  await using waiting = new MeasuredProcess([process.execPath, waitingFile]);
  await using attached = await startInstalledAgent(program, agent);
  await pause(SETTLING_MS);
  return {
    node: summarize(durations.node),
    version: summarize(durations.version),
    gate: summarize(durations.gate),
    idle: { node: waiting.memory('VmRSS'), agent: attached.memory('VmRSS') },
  };
}

async function timeToEnd(argv: readonly string[]): Promise<number> {
  const started = performance.now();
  await using process = new MeasuredProcess(argv);
  const code = await process.ended;
  const milliseconds = performance.now() - started;
  if (code !== 0) throw new Error(`${argv.join(' ')}: expected exit code 0, got ${code}`);
  return milliseconds;
}

async function timeToConnection(argv: readonly string[], socketPath: string): Promise<number> {
  rmSync(socketPath, { force: true });
  mkdirSync(dirname(socketPath), { recursive: true, mode: 0o700 });
  const watcher = watch(dirname(socketPath));
  try {
    const appeared = new Promise<void>((resolve) => {
      watcher.on('change', (_, name) => name === basename(socketPath) && resolve());
    });
    const started = performance.now();
    await using process = new MeasuredProcess(argv);
    const ended = process.ended.then((code) => code ?? 'a signal');
    const code = await Promise.race([appeared, ended]);
    if (code !== undefined) throw new Error(`${argv.join(' ')} ended with ${code} before its gate was there`);
    while (!(await accepts(socketPath))) await pause(1);
    return performance.now() - started;
  } finally {
    watcher.close();
  }
}
