import type { Clock } from '../clock.ts';
import type { Config } from '../config/config.ts';
import type { Readiness } from '../gate/readiness.ts';
import type { Ghosts } from '../ghosts/ghosts.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { Allocation } from '../model/allocation.ts';
import type { AgentSelf } from '../nomad/agent-self.ts';
import type { Nomad } from '../nomad/nomad.ts';
import type { Accounts } from '../reconcile/accounts.ts';
import { Reconciler } from '../reconcile/reconciler.ts';
import type { RuleSources } from '../reconcile/rules.ts';
import { StreamNamespaces } from '../watch/stream-namespaces.ts';
import type { Host, HostOptions } from './host.ts';
import { HostVolumes } from './host-volumes.ts';
import type { NomadHealth } from './nomad-health.ts';
import { ReconcilerReadiness } from './reconciler-readiness.ts';
import { watchGhosts } from './watch-ghosts.ts';
import { type NodeWatch, watchNode } from './watch-node.ts';

/** What a node is followed with, whichever it is. */
export interface NodeParts {
  readonly config: Pick<
    Config,
    'metaKey' | 'minUid' | 'ordering' | 'policy' | 'users' | 'resyncIntervalMs' | 'removeGhostsAfterMs'
  >;
  readonly nomad: Pick<Nomad, 'allocation' | 'nodeAllocations' | 'hostVolumes' | 'eventStart' | 'eventLines'>;
  readonly accounts: Pick<Accounts, 'get' | 'onAnswer'>;
  /** Puts together what allocations get on this host, once it is known where they are. */
  readonly makeHost: (options: Pick<HostOptions, 'paths'>) => Host;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** What there is beside that once Nomad has said which node it is. */
interface FollowedNodeOptions extends NodeParts {
  readonly self: AgentSelf;
  readonly health: NomadHealth;
  /** @throws NotYetError `nomad_other_node` where Nomad has become another node */
  readonly requireSameNode: (node: FollowedNode) => Promise<void>;
  /** Everything was listed: asks the same until Nomad answers. Resolves in any case. */
  readonly checkSameNode: (node: FollowedNode, signal: AbortSignal) => Promise<void>;
  /** Aborted when nothing is to be followed any more. */
  readonly stopping: AbortSignal;
}

/** A node that Nomad says it is, from then on until it says another one: all that is put together for it, and runs for it. */
export class FollowedNode {
  readonly self: AgentSelf;
  readonly host: Host;
  readonly reconciler: Reconciler;
  readonly readiness: Readiness;
  readonly ghosts: Ghosts;
  readonly #options: FollowedNodeOptions;
  readonly #ended = new AbortController();
  readonly #signal: AbortSignal;
  readonly #namespaces = new StreamNamespaces();
  #watch: NodeWatch | undefined;
  #isChecking = false;

  private constructor(options: FollowedNodeOptions, host: Host) {
    const { self, config, accounts, nomad, health, stopping, clock, log, metrics } = options;
    const { nodeId, csiDir } = self;
    const { metaKey } = config;
    const { isSelinuxOn } = host;
    this.#options = options;
    this.#signal = AbortSignal.any([stopping, this.#ended.signal]);
    this.self = self;
    this.host = host;
    const hostVolumes = new HostVolumes(() => nomad.hostVolumes(nodeId, stopping), { clock, log });
    this.reconciler = new Reconciler({
      readAllocation: (id) => this.#readAllocation(id),
      isUpToDate: () => health.isUpToDate(),
      hasDirectory: (id) => host.hasDirectory(id),
      rules: rulesOf(config, nodeId),
      accountOf: (user) => accounts.get(user),
      hostVolumes: (names) => hostVolumes.paths(names),
      grantedOn: (id) => host.grantedOn(id),
      resources: host.resources,
      userResources: host.userResources,
      isNetnsOwned: (id) => host.isNetnsOwned(id),
      clock,
      log,
      metrics,
    });
    this.ghosts = watchGhosts({ ...options, host, reconciler: this.reconciler }, this.#signal);
    this.reconciler.onEnded((uids) => this.ghosts.lookSoonAt(uids));
    const stopListening = accounts.onAnswer(() => this.reconciler.enqueueWaiting());
    this.#ended.signal.addEventListener('abort', stopListening, { once: true });
    const policy = () => config.policy;
    this.readiness = new ReconcilerReadiness(this.reconciler, { metaKey, csiDir, policy, isSelinuxOn });
  }

  /** Begins to follow it. @throws what looking at the host throws; nothing is left of it then */
  static follow(options: FollowedNodeOptions): FollowedNode {
    using made = new DisposableStack();
    const host = options.makeHost({ paths: options.self });
    made.defer(() => host.close());
    const node = new FollowedNode(options, host);
    made.defer(() => node.end());
    options.health.attached();
    node.#begin();
    made.move();
    return node;
  }

  /** Resolves when it is ended, or nothing is followed any more; rejects with what kept it from being followed. */
  get finished(): Promise<unknown> {
    return this.#watch?.finished ?? Promise.resolve();
  }

  /** Resolves once an up-to-date listing and the host have been gone over. */
  get lookedAt(): Promise<void> {
    return this.#watch?.lookedAt ?? Promise.resolve();
  }

  /** Aborted when it is ended. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /** What is not watched, and what keeps allocations from all that they could have, in words. */
  warnings(): string[] {
    return [...this.host.warnings(), ...(this.#watch?.warnings() ?? [])];
  }

  /** Nothing more is begun for it. */
  end(): void {
    this.#ended.abort();
  }

  /** Resolves when what was under way has ended. What is prepared stays as it is. */
  async close(): Promise<void> {
    await this.reconciler.stop();
    this.host.close();
  }

  #begin(): void {
    const { config, self } = this.#options;
    const { resyncIntervalMs: intervalMs, ordering } = config;
    const { host, reconciler } = this;
    const onListed = () => void this.#listed();
    const { nodeId } = self;
    this.#watch = watchNode(
      { ...this.#options, nodeId, namespaces: this.#namespaces, host, reconciler, intervalMs, ordering, onListed },
      this.#signal,
    );
  }

  async #listed(): Promise<void> {
    this.ghosts.lookSoon();
    if (this.#isChecking) return;
    this.#isChecking = true;
    await this.#options.checkSameNode(this, this.#signal);
    this.#isChecking = false;
  }

  async #readAllocation(id: string): Promise<Allocation | undefined> {
    const { nomad, requireSameNode, stopping } = this.#options;
    const allocation = await nomad.allocation(id, stopping);
    if (!allocation) return undefined;
    this.#namespaces.cover(allocation.namespace);
    // An allocation of another node, wanted here: its directory is left from before, or it is we who have the wrong id.
    if (allocation.nodeId !== this.self.nodeId) await requireSameNode(this);
    return allocation;
  }
}

function rulesOf(config: NodeParts['config'], nodeId: string): RuleSources['rules'] {
  return {
    nodeId,
    metaKey: config.metaKey,
    minUid: config.minUid,
    // The configuration can change while the agent runs.
    get configured() {
      return new Set(config.users.keys());
    },
    get policy() {
      return config.policy;
    },
  };
}
