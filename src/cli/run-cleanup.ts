import { dirname } from 'node:path';
import { cleanUp, type Leftover } from '../agent/cleanup.ts';
import { nomadConnection } from '../agent/nomad-connection.ts';
import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load-config.ts';
import { messageOf, RefusedError } from '../errors.ts';
import { claimSocketPath, type SocketClaim } from '../linux/socket-path.ts';
import { type ClientPaths, clientPaths } from '../nomad/agent-self.ts';
import { Nomad } from '../nomad/nomad.ts';
import { type HostUser, lookUpHostUser } from '../reconcile/accounts.ts';
import type { Terminal } from './terminal.ts';

const NOMAD_TIMEOUT_MS = 10_000;

/** What `cleanup` is told. */
export interface CleanupOptions {
  readonly dryRun?: true;
  readonly json?: true;
  readonly config?: string;
}

/** Takes everything of ours off this host, and says what. @throws RefusedError `not_root`, `agent_running`, `no_alloc_dir`; as loadConfig does */
export async function runCleanup(options: CleanupOptions, terminal: Terminal): Promise<void> {
  const { config } = loadConfig({ file: options.config, env: process.env });
  if (process.getuid?.() !== 0) throw new RefusedError('not_root', 'cleanup must run as root');
  using _claim = keepAgentsOut(config);
  const accounts = await accountsOf(config);
  const found: Leftover[] = [];
  const dryRun = options.dryRun === true;
  await cleanUp({
    config,
    paths: await pathsOf(config),
    accountOf: (name) => accounts.get(name),
    dryRun,
    onLeftover: (leftover) => {
      found.push(leftover);
      if (!options.json) terminal.write(`${dryRun ? 'would take' : 'takes'} ${leftover.kind}: ${leftover.what}\n`);
    },
  });
  const summary =
    found.length === 0 ? 'nothing of ours is on this host' : `${found.length} things${dryRun ? '' : ' taken away'}`;
  terminal.write(options.json ? `${JSON.stringify({ dryRun, leftovers: found }, null, 2)}\n` : `${summary}\n`);
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

async function pathsOf(config: Config): Promise<ClientPaths> {
  const { allocDir, dataDir, nodeId } = config.nomad;
  if (dataDir !== undefined) return clientPaths(dataDir, { AllocDir: allocDir });
  if (allocDir !== undefined) return clientPaths(dirname(allocDir), { AllocDir: allocDir });
  const nomad = new Nomad(nomadConnection(config.nomad));
  try {
    return await nomad.self(AbortSignal.timeout(NOMAD_TIMEOUT_MS), { nodeId });
  } catch (error) {
    const message = `Nomad does not say where its allocations are (${messageOf(error)}); set nomad.alloc_dir in the configuration`;
    throw new RefusedError('no_alloc_dir', message, error);
  } finally {
    await nomad.close();
  }
}
