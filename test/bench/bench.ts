import { join } from 'node:path';
import { AgentProcess } from '../support/agent.ts';
import { createSandbox } from '../support/sandbox.ts';
import { type StandInNomad, startStandInNomad } from '../support/stand-in-nomad.ts';
import { type InstalledAgent, installProgram, startInstalledAgent } from './installed-agent.ts';
import { TimedApi } from './timed-api.ts';

const USER = 'alice';
/** The podman driver's own interval. */
const STATS_INTERVAL_MS = 1000;

/** What the measurements work with. */
export interface Bench {
  readonly nomad: StandInNomad;
  readonly agent: InstalledAgent;
  /** One of the agent's samples, by name and labels as in the exposition format. */
  metric(sample: string): Promise<number | undefined>;
  /** How many allocations of the user are ready, as the agent counts them. */
  ready(): Promise<number>;
  /** The socket of the user's Podman. */
  readonly direct: TimedApi;
  /** The user's gate. */
  readonly gate: TimedApi;
}

/** Starts sandbox, stand-in and the installed agent, and disposes of them in the reverse order. */
export async function startBench(): Promise<Bench & AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const sandbox = stack.use(await createSandbox({ users: [USER] }));
  const process = new AgentProcess(sandbox);
  const nomad = stack.use(
    await startStandInNomad({
      dataDir: join(sandbox.directory, 'nomad'),
      sockets: { [USER]: process.gateSocket(USER) },
      statsIntervalMs: STATS_INTERVAL_MS,
    }),
  );
  process.configure({ nomad: { address: nomad.address }, users: { [USER]: {} }, log: { level: 'info' } });
  const program = await installProgram(join(sandbox.directory, 'installed'));
  const agent = stack.use(await startInstalledAgent(program, process));
  const direct = stack.use(new TimedApi(sandbox.user(USER).socket));
  const gate = stack.use(new TimedApi(process.gateSocket(USER)));
  const metric = (sample: string) => process.metric(sample);
  const ready = async () => (await metric(`nomad_rootless_allocations{user="${USER}",state="ready"}`)) ?? 0;
  const all = stack.move();
  return { nomad, agent, metric, ready, direct, gate, [Symbol.asyncDispose]: () => all.disposeAsync() };
}
