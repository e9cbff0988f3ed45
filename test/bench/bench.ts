import { join } from 'node:path';
import { AgentProcess } from '../support/agent.ts';
import { createSandbox, type Sandbox } from '../support/sandbox.ts';
import { type StandInNomad, startStandInNomad } from '../support/stand-in-nomad.ts';
import { type InstalledAgent, installProgram, startInstalledAgent } from './installed-agent.ts';
import { TimedApi } from './timed-api.ts';

/** Whose Podman, gate and allocations `direct`, `gate` and `ready` are. */
const USER = 'alice';
/** The podman driver's own interval. */
const STATS_INTERVAL_MS = 1000;

/** What the measurements work with. */
export interface Bench {
  readonly sandbox: Sandbox;
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
  /** Where the gate of a user is. */
  gateSocket(user: string): string;
}

/** Starts sandbox, stand-in and the installed agent, and disposes of them in the reverse order. @param others users beside the one */
export async function startBench(...others: readonly string[]): Promise<Bench & AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const users = [USER, ...others];
  const sandbox = stack.use(await createSandbox({ users }));
  const process = new AgentProcess(sandbox);
  const nomad = stack.use(
    await startStandInNomad({
      dataDir: join(sandbox.directory, 'nomad'),
      sockets: Object.fromEntries(users.map((user) => [user, process.gateSocket(user)])),
      statsIntervalMs: STATS_INTERVAL_MS,
    }),
  );
  const configured = Object.fromEntries(users.map((user) => [user, {}]));
  process.configure({ nomad: { address: nomad.address }, users: configured, log: { level: 'info' } });
  const program = await installProgram(join(sandbox.directory, 'installed'));
  const agent = stack.use(await startInstalledAgent(program, process));
  const direct = stack.use(new TimedApi(sandbox.user(USER).socket));
  const gate = stack.use(new TimedApi(process.gateSocket(USER)));
  const metric = (sample: string) => process.metric(sample);
  const ready = async () => (await metric(`nomad_rootless_allocations{user="${USER}",state="ready"}`)) ?? 0;
  const all = stack.move();
  const gateSocket = (user: string) => process.gateSocket(user);
  return {
    sandbox,
    nomad,
    agent,
    gateSocket,
    metric,
    ready,
    direct,
    gate,
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}
