import type { Clock } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { codeOf, messageOf } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { Nomad } from '../nomad/nomad.ts';
import type { Reconciler } from '../reconcile/reconciler.ts';
import { takeAway } from '../reconcile/settle.ts';
import type { Step } from '../resources/resource.ts';
import { SHARED_DIR } from '../resources/view/shared-dir.ts';
import { watchAllocationEntries } from '../watch/allocation-entries.ts';
import { watchEventStream } from '../watch/event-stream.ts';
import { HostWatches } from '../watch/host-watches.ts';
import { watchListing } from '../watch/resync.ts';
import type { StreamNamespaces } from '../watch/stream-namespaces.ts';
import { TaskDirsWatch } from '../watch/task-dirs.ts';
import type { Host } from './host.ts';
import type { NomadHealth } from './nomad-health.ts';

/** What all tasks of an allocation share, SharedAllocName in Nomad's client/allocdir. */
const ALLOC = 'alloc';

/** What tells of changes, and who is told. */
interface NodeWatchOptions {
  readonly nomad: Pick<Nomad, 'eventStart' | 'eventLines' | 'nodeAllocations'>;
  readonly nodeId: string;
  /** Those of all allocations that were read. */
  readonly namespaces: StreamNamespaces;
  readonly host: Pick<
    Host,
    'allocDir' | 'netnsDir' | 'allocationIds' | 'hasDirectory' | 'isNetnsLeft' | 'nodeResources'
  >;
  readonly reconciler: Pick<
    Reconciler,
    'enqueue' | 'enqueueHostChange' | 'enqueueListed' | 'enqueueFound' | 'allocation'
  >;
  readonly health: NomadHealth;
  /** Between one listing and the next, in milliseconds. */
  readonly intervalMs: number;
  readonly ordering: Config['ordering'];
  /** Everything was listed. Nomad may have become another node meanwhile. */
  readonly onListed: () => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** A running watch of a node. */
export interface NodeWatch {
  /** What is not watched on this host, and why, in words. */
  warnings(): string[];
  /** Resolves once the reconciler has been told of all that an up-to-date listing has, and the host has been swept. */
  readonly lookedAt: Promise<void>;
  /** Resolves when the signal is aborted. */
  readonly finished: Promise<unknown>;
}

/**
 * Leads everything that tells of a change on this node to the reconciler, until the signal is aborted: Nomad's event
 * stream, the alloc dir, the network namespaces and the directories of tasks, and the listing of all allocations, which
 * alone is the truth: after each gap in the stream, and at intervals.
 */
export function watchNode(options: NodeWatchOptions, signal: AbortSignal): NodeWatch {
  const { nomad, nodeId, host, namespaces, reconciler, health, intervalMs, clock, log, metrics } = options;
  const source = { nomad, nodeId, clock, log, metrics };
  const onAllocation = (id: string) => reconciler.enqueue(id);
  const { allocDir } = host;
  const onHost = (id: string) => reconciler.enqueueHostChange(id);
  const isWatched = options.ordering === 'watch';
  const taskDirs = new TaskDirsWatch({
    allocDir,
    others: [ALLOC, SHARED_DIR],
    once: !isWatched,
    onAllocation: onHost,
    log,
  });
  const onDirectory = (id: string) => {
    onAllocation(id);
    const isThere = host.hasDirectory(id);
    if (isWatched || !isThere) taskDirs.follow(id, isThere);
  };
  const onNetns = (id: string) => {
    if (isWatched || host.isNetnsLeft(id)) onHost(id);
    // With a gate: so that its netns is the user's by the time that the driver is asked to start a task.
    else if (reconciler.allocation(id)) taskDirs.follow(id, host.hasDirectory(id));
  };
  const { netnsDir } = host;
  const watches = new HostWatches(
    {
      [allocDir]: (onError) => watchAllocationEntries(allocDir, { onAllocation: onDirectory, onError }),
      [netnsDir]: (onError) => watchAllocationEntries(netnsDir, { onAllocation: onNetns, onError }),
    },
    { clock, log },
  );
  const lookedAt = Promise.withResolvers<void>();
  const listing = watchListing(
    {
      ...source,
      intervalMs,
      onListing: (allocations, askedAt) => {
        health.listed(askedAt);
        for (const { namespace } of allocations) namespaces.cover(namespace);
        reconciler.enqueueListed(allocations);
        const looked = lookAtHost(options);
        if (health.isUpToDate()) void looked.then(lookedAt.resolve);
        watches.retry();
        options.onListed();
      },
      onFailure: (problem) => health.failed('listing', problem),
    },
    signal,
  );
  const following = watchEventStream(
    {
      ...source,
      namespaces,
      lifeMs: intervalMs,
      onAllocation,
      onConnected: () => health.streamConnected(),
      onDisconnected: (problem) => health.streamDisconnected(problem),
      onGap: () => listing.refresh(),
    },
    signal,
  );
  const onAbort = () => {
    watches.stop();
    taskDirs.stop();
  };
  signal.addEventListener('abort', onAbort, { once: true });
  if (isWatched) for (const id of host.allocationIds()) taskDirs.follow(id, host.hasDirectory(id));
  const finished = Promise.all([listing.finished, following]);
  return { warnings: () => watches.warnings(), lookedAt: lookedAt.promise, finished };
}

/**
 * What is on the host and not in the listing may be left over from before: each is asked for by its id. What is there for no
 * allocation is taken away. What fails is tried again after the next listing.
 */
async function lookAtHost({ host, reconciler, log, metrics }: NodeWatchOptions): Promise<void> {
  try {
    reconciler.enqueueFound(host.allocationIds());
  } catch (error) {
    reportLeft(error, { metrics, log });
  }
  const take = async (step: Step) => {
    await step.apply();
    metrics.cleanup.inc({ kind: step.kind });
    log.info({ kind: step.kind, removes: true }, step.what);
  };
  for (const resource of host.nodeResources) {
    await takeAway(
      () => resource.plan(),
      take,
      (error) => reportLeft(error, { metrics, log }),
    );
  }
}

function reportLeft(error: unknown, { metrics, log }: Pick<NodeWatchOptions, 'metrics' | 'log'>): void {
  metrics.errors.inc({ code: codeOf(error) });
  log.warn({ code: codeOf(error) }, `cannot look for leftovers on the host: ${messageOf(error)}`);
}
