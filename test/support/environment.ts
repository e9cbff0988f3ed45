import { join } from 'node:path';
import { type AgentConfig, AgentProcess, type AgentProgram } from './agent.ts';
import type { NomadUnderTest } from './nomad-under-test.ts';
import { createSandbox, type Sandbox } from './sandbox.ts';
import { PlayedServiceManager } from './service-manager.ts';

/** How an environment is to be. */
export interface EnvironmentOptions<N extends NomadUnderTest> {
  /** Starts the stand-in or a real Nomad; `sockets` are the driver's socket blocks, one a user, each the user's gate. */
  readonly startNomad: (options: { sandbox: Sandbox; dataDir: string; sockets: Record<string, string> }) => Promise<N>;
  /** Where Nomad will answer. Told beforehand, the agent starts first: a real driver pings its sockets when it starts. */
  readonly nomadAddress?: string;
  /** Users with an account, a Podman and a gate; alice and bob unless told. */
  readonly users?: readonly string[];
  /** More keys of the agent's configuration. */
  readonly config?: AgentConfig;
  /** Names of the configuration that no account has yet; the driver has a socket of each. */
  readonly expected?: readonly string[];
  /** Whether the agent is started as systemd does, which keeps its sockets. */
  readonly isManaged?: boolean;
  /** What runs the agent, and how. */
  readonly program?: AgentProgram;
  /** Makes the host something else before there is an agent or a Nomad. @returns what undoes it */
  readonly prepare?: (sandbox: Sandbox) => Promise<() => Promise<void>>;
}

/** Everything that a task needs: users with Podman in a sandbox, a Nomad, and the agent between them. */
export interface Environment<N extends NomadUnderTest = NomadUnderTest> extends AsyncDisposable {
  readonly sandbox: Sandbox;
  readonly nomad: N;
  readonly agent: AgentProcess;
}

/** Starts sandbox, Nomad and agent; disposing of it ends them in the reverse order, whatever fails on the way. */
export async function startEnvironment<N extends NomadUnderTest>(
  options: EnvironmentOptions<N>,
): Promise<Environment<N>> {
  const { startNomad, nomadAddress, users = ['alice', 'bob'], expected = [], config = {} } = options;
  await using stack = new AsyncDisposableStack();
  const sandbox = stack.use(await createSandbox({ users }));
  if (options.prepare) stack.defer(await options.prepare(sandbox));
  const agent = new AgentProcess(sandbox, options.program);
  if (options.isManaged) {
    agent.manager = stack.use(new PlayedServiceManager(join(sandbox.directory, 'notify')));
  }
  stack.defer(async () => void (await agent.stop()));
  const sockets = Object.fromEntries([...users, ...expected].map((user) => [user, agent.gateSocket(user)]));
  const configure = (address: string) =>
    agent.configure({
      nomad: { address },
      users: Object.fromEntries([...users, ...expected].map((user) => [user, {}])),
      ...config,
    });
  if (nomadAddress !== undefined) {
    configure(nomadAddress);
    await agent.startUnready();
    await agent.waitForLog(/gates are open/);
  }
  const nomad = await startNomad({ sandbox, dataDir: join(sandbox.directory, 'nomad'), sockets });
  stack.defer(() => nomad.stop());
  if (nomadAddress === undefined) {
    configure(nomad.address);
    await agent.startUnready();
  }
  await agent.waitUntilReady();
  const all = stack.move();
  return { sandbox, nomad, agent, [Symbol.asyncDispose]: () => all.disposeAsync() };
}
