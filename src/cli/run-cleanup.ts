import { dirname } from 'node:path';
import { cleanUp, type Leftover, type NomadForGhosts } from '../agent/cleanup.ts';
import { requireOwnNode } from '../agent/node-identity.ts';
import { nomadConnection } from '../agent/nomad-connection.ts';
import { signalAfter, systemClock } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load-config.ts';
import { messageOf, RefusedError } from '../errors.ts';
import { directoryIsThere } from '../linux/directory.ts';
import { claimSocketPath, type SocketClaim } from '../linux/socket-path.ts';
import { lockStateDir } from '../linux/state-lock.ts';
import { type AgentSelf, type ClientPaths, clientPaths } from '../nomad/agent-self.ts';
import { Nomad } from '../nomad/nomad.ts';
import { printable } from '../printable.ts';
import { type HostUser, lookUpHostUser } from '../reconcile/host-user.ts';
import type { Terminal } from './terminal.ts';

const NOMAD_TIMEOUT_MS = 10_000;

/** What `cleanup` is told. */
export interface CleanupOptions {
  readonly dryRun?: true;
  readonly json?: true;
  readonly config?: string;
}

/** Takes everything of ours off this host, and says what. @throws RefusedError `not_root`, `agent_running`, `state_dir_in_use`, `no_alloc_dir`; as loadConfig does */
export async function runCleanup(options: CleanupOptions, terminal: Terminal): Promise<void> {
  const { config } = loadConfig({ file: options.config, env: process.env });
  if (process.getuid?.() !== 0) throw new RefusedError('not_root', 'cleanup must run as root; use sudo');
  using _claim = keepAgentsOut(config);
  using _lock = directoryIsThere(config.stateDir) ? lockStateDir(config.stateDir) : undefined;
  const accounts = await accountsOf(config);
  const found: Leftover[] = [];
  const problems: string[] = [];
  const onProblem = (problem: string) => {
    problems.push(problem);
    if (!options.json) terminal.write(`skips ${printable(problem)}\n`);
  };
  const dryRun = options.dryRun === true;
  await using nomad = new NomadOfThisNode(config);
  await cleanUp({
    config,
    paths: await nomad.paths(),
    nomad: await nomad.forGhosts(onProblem),
    accountOf: (name) => accounts.get(name),
    clock: systemClock,
    onProblem,
    dryRun,
    onLeftover: (leftover) => {
      found.push(leftover);
      if (options.json) return;
      terminal.write(`${dryRun ? 'would remove' : 'removes'} ${leftover.kind}: ${printable(leftover.what)}\n`);
    },
  });
  const summary =
    found.length === 0
      ? 'nothing of nomad-rootless is on this host'
      : `${found.length} things${dryRun ? '' : ' removed'}`;
  const report = { dryRun, leftovers: found, problems };
  terminal.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : `${summary}\n`);
}

/** Keeps an agent from starting meanwhile; a running one would put back what is taken away. */
function keepAgentsOut(config: Config): SocketClaim {
  try {
    return claimSocketPath(config.admin.socket);
  } catch (error) {
    if (!(error instanceof RefusedError) || error.code !== 'socket_in_use') throw error;
    throw new RefusedError(
      'agent_running',
      'the agent is running, or systemd keeps its lock: systemctl stop nomad-rootless, then systemctl clean --what=fdstore nomad-rootless',
      error,
    );
  }
}

/** @throws NotYetError where the name service does not answer: something of a user's could be left otherwise */
async function accountsOf({ users }: Config): Promise<ReadonlyMap<string, HostUser | undefined>> {
  return new Map(await Promise.all([...users.keys()].map(async (name) => [name, await lookUpHostUser(name)] as const)));
}

/** What cleanup asks Nomad, which may be there no more. */
class NomadOfThisNode implements AsyncDisposable {
  readonly #config: Config['nomad'];
  readonly #nomad: Nomad;
  #self: Promise<AgentSelf> | undefined;

  constructor({ nomad }: Config) {
    this.#config = nomad;
    this.#nomad = new Nomad(nomadConnection(nomad));
  }

  /** @throws RefusedError `no_alloc_dir` */
  async paths(): Promise<ClientPaths> {
    const { allocDir, dataDir } = this.#config;
    if (dataDir !== undefined) return clientPaths(dataDir, { AllocDir: allocDir });
    if (allocDir !== undefined) return clientPaths(dirname(allocDir), { AllocDir: allocDir });
    try {
      return await this.#askSelf();
    } catch (error) {
      const message = `Nomad does not say where its allocations are (${messageOf(error)}); set nomad.alloc_dir in the configuration`;
      throw new RefusedError('no_alloc_dir', message, error);
    }
  }

  /** Undefined where it does not answer, or is another node's: that one knows none of the allocations here. */
  async forGhosts(onProblem: (problem: string) => void): Promise<NomadForGhosts | undefined> {
    const self = await this.#askOwnSelf().catch((error: unknown) => {
      onProblem(`ghosts, of which only Nomad can say that they are any: ${messageOf(error)}`);
      return undefined;
    });
    if (!self) return undefined;
    const ask = (id: string) => this.#nomad.allocation(id, signalAfter(NOMAD_TIMEOUT_MS));
    return { self, answers: { known: () => undefined, ask, isConnected: () => true } };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#nomad.close();
  }

  async #askOwnSelf(): Promise<AgentSelf> {
    const self = await this.#askSelf();
    if (this.#config.nodeId === undefined) requireOwnNode(self, this.#config.address);
    return self;
  }

  #askSelf(): Promise<AgentSelf> {
    const { nodeId, dataDir, allocDir } = this.#config;
    const known = { nodeId, dataDir, allocDir };
    this.#self ??= this.#nomad.self(signalAfter(NOMAD_TIMEOUT_MS), known);
    return this.#self;
  }
}
