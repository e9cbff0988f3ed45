import type { Clock } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { messageOf } from '../errors.ts';
import { removeSocketFiles, socketFilesIn } from '../linux/socket-file.ts';
import type { Log } from '../log.ts';
import type { Desired } from '../model/desired.ts';
import { needsOf } from '../model/user-needs.ts';
import type { ClientPaths } from '../nomad/agent-self.ts';
import type { HostUser } from '../reconcile/host-user.ts';
import { takeAway } from '../reconcile/settle.ts';
import type { Step } from '../resources/resource.ts';
import { type Host, makeHost } from './host.ts';
import { type GhostPlaces, ghostSources } from './watch-ghosts.ts';

/** One thing of ours on this host; `what` is for people. */
export interface Leftover {
  readonly kind: Step['kind'] | 'socket' | 'ghost';
  readonly what: string;
}

/** What tells ghosts apart: Nomad itself. */
export type NomadForGhosts = Pick<GhostPlaces, 'self' | 'answers'>;

/** What cleanUp works with; `paths` are those of Nomad's client. */
interface CleanupOptions {
  readonly config: Config;
  readonly paths: ClientPaths;
  readonly accountOf: (name: string) => HostUser | undefined;
  /** Undefined where Nomad does not answer: then nothing is taken for left behind. */
  readonly nomad: NomadForGhosts | undefined;
  readonly clock: Clock;
  /** Told of what could not be looked at, or taken away whole, in words. */
  readonly onProblem: (problem: string) => void;
  /** Only say what there is. */
  readonly dryRun: boolean;
  /** Called for each thing before it is taken away. */
  readonly onLeftover: (leftover: Leftover) => void;
}

/**
 * Takes everything of ours off this host: what allocations that are over have left behind, mounts, ACLs, entries on FIFOs,
 * sockets. Running containers keep what they have mounted.
 * @throws what a resource throws; what was taken away before stays away, and doing it again goes on from there
 */
export async function cleanUp(options: CleanupOptions): Promise<void> {
  const { config, paths, accountOf, clock, dryRun, onLeftover, onProblem } = options;
  const host = makeHost({ config, paths, accountOf, clock });
  const take = async (step: Step) => {
    onLeftover({ kind: step.kind, what: step.what });
    if (!dryRun) await step.apply();
  };
  const onFailure = (error: unknown) => onProblem(messageOf(error));
  try {
    await removeGhosts(host, options);
    for (const id of host.allocationIds()) {
      const nothing: Desired = { kind: 'nothing', id, why: 'gone' };
      for (const resource of host.resources) for (const step of await resource.plan(nothing)) await take(step);
    }
    for (const uid of new Set(host.userResources.flatMap((resource) => [...resource.uids()]))) {
      const needs = needsOf(uid, [], true);
      for (const resource of host.userResources) await takeAway(() => resource.planRemoval(needs), take, onFailure);
    }
    for (const resource of host.nodeResources) await takeAway(() => resource.plan(), take, onFailure);
  } finally {
    host.close();
  }
  for (const path of socketFilesIn(config.gate.dir)) onLeftover({ kind: 'socket', what: path });
  if (!dryRun) removeSocketFiles(config.gate.dir);
}

/** A user's Podman that does not answer keeps nothing else here. */
async function removeGhosts(
  host: Host,
  { nomad, clock, dryRun, onLeftover, onProblem }: CleanupOptions,
): Promise<void> {
  if (!nomad) return;
  const log = logOf(onProblem);
  const { containersOf, networks } = ghostSources({ ...nomad, host, clock, log }, new AbortController().signal);
  for (const source of [...host.podmanUsers().map(containersOf), networks]) {
    try {
      for (const ghost of await source.look()) {
        onLeftover({ kind: 'ghost', what: `${ghost.kind} ${ghost.name} of ${ghost.user}: ${ghost.why}` });
        if (!dryRun) await ghost.remove();
      }
    } catch (error) {
      onProblem(`${source.what}: ${messageOf(error)}`);
    }
  }
}

function logOf(onProblem: (problem: string) => void): Log {
  const tell = (_: object, message: string) => onProblem(message);
  const pass = () => undefined;
  const log: Log = { debug: pass, info: pass, warn: tell, error: tell, child: () => log };
  return log;
}
