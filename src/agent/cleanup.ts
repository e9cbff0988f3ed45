import type { Config } from '../config/config.ts';
import { removeSocketFiles, socketFilesIn } from '../linux/socket-file.ts';
import type { Desired } from '../model/desired.ts';
import type { ClientPaths } from '../nomad/agent-self.ts';
import type { HostUser } from '../reconcile/accounts.ts';
import type { Step } from '../resources/resource.ts';
import { makeHost } from './host.ts';

/** One thing of ours on this host; `what` is for people. */
export interface Leftover {
  readonly kind: Step['kind'] | 'socket';
  readonly what: string;
}

/** What cleanUp works with; `paths` are those of Nomad's client. */
export interface CleanupOptions {
  readonly config: Config;
  readonly paths: ClientPaths;
  readonly accountOf: (name: string) => HostUser | undefined;
  /** Only say what there is. */
  readonly dryRun: boolean;
  /** Called for each thing before it is taken away. */
  readonly onLeftover: (leftover: Leftover) => void;
}

/**
 * Takes everything of ours off this host: mounts, ACLs, entries on FIFOs, sockets. Running
 * containers keep what they have mounted.
 * @throws what a resource throws; what was taken away before stays away, and doing it again goes on from there
 */
export async function cleanUp({ config, paths, accountOf, dryRun, onLeftover }: CleanupOptions): Promise<void> {
  const host = makeHost({ config, paths, accountOf, liveVolumes: () => [] });
  const take = async (steps: readonly Step[]) => {
    for (const step of steps) {
      onLeftover({ kind: step.kind, what: step.what });
      if (!dryRun) await step.apply();
    }
  };
  try {
    for (const id of host.allocationIds()) {
      const nothing: Desired = { kind: 'nothing', id, why: 'gone' };
      for (const resource of host.resources) await take(await resource.plan(nothing));
    }
    for (const sweep of host.sweeps) await take(sweep());
  } finally {
    host.close();
  }
  for (const path of socketFilesIn(config.gate.dir)) onLeftover({ kind: 'socket', what: path });
  if (!dryRun) removeSocketFiles(config.gate.dir);
}
