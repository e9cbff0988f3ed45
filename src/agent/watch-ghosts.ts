import type { Clock } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { Answers } from '../ghosts/answers.ts';
import { CniCache } from '../ghosts/cni-cache.ts';
import { ContainerGhosts } from '../ghosts/container-ghosts.ts';
import { Ghosts } from '../ghosts/ghosts.ts';
import { NetworkGhosts } from '../ghosts/network-ghosts.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { AgentSelf } from '../nomad/agent-self.ts';
import type { Nomad } from '../nomad/nomad.ts';
import { Containers } from '../podman/containers.ts';
import type { Reconciler } from '../reconcile/reconciler.ts';
import type { Host } from './host.ts';
import type { NomadHealth } from './nomad-health.ts';

/** What ghosts are known by, and where they are looked for. */
export interface GhostSources {
  readonly self: AgentSelf;
  readonly host: Pick<Host, 'handedOver' | 'hasDirectory' | 'podmanUsers'>;
  readonly nomad: Pick<Nomad, 'allocation'>;
  readonly reconciler: Pick<Reconciler, 'allocation'>;
  readonly health: Pick<NomadHealth, 'isConnected'>;
  readonly config: Pick<Config, 'removeGhostsAfterMs'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** Puts together what looks for ghosts on the node that Nomad says it is, until the signal is aborted. */
export function watchGhosts(sources: GhostSources, signal: AbortSignal): Ghosts {
  const { self, host, nomad, reconciler, health, config, clock, log, metrics } = sources;
  const answers = new Answers({
    known: (id) => reconciler.allocation(id),
    ask: (id) => nomad.allocation(id, signal),
    isConnected: () => health.isConnected,
  });
  const hasDirectory = (id: string) => host.hasDirectory(id);
  const ghosts = new Ghosts({
    users: () => host.podmanUsers(),
    containersOf: (user) =>
      new ContainerGhosts({
        user: user.name,
        containers: new Containers(user, clock, signal),
        answers,
        hasDirectory,
        allocDir: self.allocDir,
        keepsExited: self.keepsContainers,
      }),
    networks: new NetworkGhosts({
      netns: host.handedOver,
      cache: new CniCache(),
      answers,
      hasDirectory,
      userOf: (uid) => host.podmanUsers().find((user) => user.uid === uid)?.name ?? String(uid),
      pluginDirs: self.cniPath,
      log,
    }),
    graceMs: config.removeGhostsAfterMs,
    clock,
    log,
    metrics,
  });
  signal.addEventListener('abort', () => ghosts.stop(), { once: true });
  return ghosts;
}
