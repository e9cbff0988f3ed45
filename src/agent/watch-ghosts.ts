import type { Clock } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { type AnswerSources, Answers } from '../ghosts/answers.ts';
import { ContainerGhosts } from '../ghosts/container-ghosts.ts';
import type { GhostSource } from '../ghosts/ghost.ts';
import { Ghosts } from '../ghosts/ghosts.ts';
import { NetworkGhosts } from '../ghosts/network-ghosts.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { AgentSelf } from '../nomad/agent-self.ts';
import type { Nomad } from '../nomad/nomad.ts';
import type { PodmanUser } from '../podman/connect.ts';
import { Containers } from '../podman/containers.ts';
import type { Reconciler } from '../reconcile/reconciler.ts';
import { CniCache } from '../resources/netns/cni-cache.ts';
import type { Host } from './host.ts';
import type { NomadHealth } from './nomad-health.ts';

/** Where ghosts are looked for, and what they are known by. */
export interface GhostPlaces {
  readonly self: Pick<AgentSelf, 'allocDir' | 'cniPath' | 'keepsContainers'>;
  readonly host: Pick<Host, 'migratedNetns' | 'hasDirectory' | 'podmanUsers'>;
  readonly answers: Omit<AnswerSources, 'log'>;
  readonly clock: Clock;
  readonly log: Log;
}

/** What looks for them. @param signal gives up what is under way */
export function ghostSources(
  { self, host, answers: sources, clock, log }: GhostPlaces,
  signal: AbortSignal,
): { containersOf: (user: PodmanUser) => GhostSource; networks: GhostSource } {
  const answers = new Answers({ ...sources, log });
  const hasDirectory = (id: string) => host.hasDirectory(id);
  const { allocDir, cniPath: pluginDirs, keepsContainers: keepsExited } = self;
  const containersOf = (user: PodmanUser) => {
    const containers = new Containers(user, clock, signal);
    return new ContainerGhosts({ user: user.name, containers, answers, hasDirectory, allocDir, keepsExited });
  };
  const userOf = (uid: number) => host.podmanUsers().find((user) => user.uid === uid)?.name ?? String(uid);
  const cache = new CniCache();
  const networks = new NetworkGhosts({
    netns: host.migratedNetns,
    cache,
    answers,
    hasDirectory,
    userOf,
    pluginDirs,
    log,
  });
  return { containersOf, networks };
}

/** What the agent has for it. */
interface GhostWatchParts extends Omit<GhostPlaces, 'answers'> {
  readonly nomad: Pick<Nomad, 'allocation'>;
  readonly reconciler: Pick<Reconciler, 'allocation'>;
  readonly health: Pick<NomadHealth, 'isConnected'>;
  readonly config: Pick<Config, 'removeGhostsAfterMs'>;
  readonly metrics: Metrics;
}

/** Looks for ghosts on the node that Nomad says it is, until the signal is aborted. */
export function watchGhosts(parts: GhostWatchParts, signal: AbortSignal): Ghosts {
  const { host, nomad, reconciler, health, config, clock, log, metrics } = parts;
  const answers = {
    known: (id: string) => reconciler.allocation(id),
    ask: (id: string) => nomad.allocation(id, signal),
    isConnected: () => health.isConnected,
  };
  const users = () => host.podmanUsers();
  const graceMs = config.removeGhostsAfterMs;
  const ghosts = new Ghosts({ ...ghostSources({ ...parts, answers }, signal), users, graceMs, clock, log, metrics });
  signal.addEventListener('abort', () => ghosts.stop(), { once: true });
  return ghosts;
}
