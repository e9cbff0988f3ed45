import { backoffMs, NOMAD_BACKOFF } from '../backoff.ts';
import type { Clock } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { codeOf, messageOf, NotYetError, retryInMs } from '../errors.ts';
import type { Readiness, ReadyAnswer, ReadyRequest } from '../gate/readiness.ts';
import { withGhosts } from '../ghosts/explain-ghosts.ts';
import type { Ghosts } from '../ghosts/ghosts.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { Allocation } from '../model/allocation.ts';
import type { Explanation } from '../model/explanation.ts';
import type { GhostStatus } from '../model/status.ts';
import type { AgentSelf } from '../nomad/agent-self.ts';
import type { Nomad } from '../nomad/nomad.ts';
import type { Accounts } from '../reconcile/accounts.ts';
import { Reconciler } from '../reconcile/reconciler.ts';
import type { AllocationRecord } from '../reconcile/record.ts';
import type { Host, HostOptions } from './host.ts';
import { HostVolumes } from './host-volumes.ts';
import { requireOwnNode } from './node-identity.ts';
import { NomadHealth } from './nomad-health.ts';
import { nomadWarnings } from './nomad-warnings.ts';
import { ReconcilerReadiness } from './readiness.ts';
import { hiddenAmong } from './status.ts';
import { watchGhosts } from './watch-ghosts.ts';
import { type NodeWatch, watchNode } from './watch-node.ts';

/** What the follower works with. */
export interface NodeFollowerParts {
  readonly config: Pick<
    Config,
    | 'nomad'
    | 'metaKey'
    | 'minUid'
    | 'ordering'
    | 'gate'
    | 'policy'
    | 'users'
    | 'resyncIntervalMs'
    | 'removeGhostsAfterMs'
  >;
  readonly nomad: Pick<Nomad, 'self' | 'allocation' | 'nodeAllocations' | 'hostVolumes' | 'eventStart' | 'eventLines'>;
  readonly accounts: Pick<Accounts, 'get' | 'onAnswer'>;
  /** Puts together what allocations get on this host, once it is known where they are. */
  readonly makeHost: (options: Pick<HostOptions, 'paths'>) => Host;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** What there is once Nomad has said who it is. */
interface Attached {
  readonly self: AgentSelf;
  readonly host: Host;
  readonly reconciler: Reconciler;
  readonly readiness: Readiness;
  readonly watch: NodeWatch;
  readonly ghosts: Ghosts;
  /** Aborted when Nomad has become another node, or following it has failed. */
  readonly ended: AbortController;
}

/** What was not foreseen fails again at once, as often as not. */
const AFTER_FAILURE_MS = 5000;

/**
 * Follows the node that Nomad says it is, and begins anew when it says another one: its data dir was wiped. A create
 * waits until Nomad has said where its allocations are.
 */
export class NodeFollower implements Readiness {
  readonly #parts: NodeFollowerParts;
  readonly #stopping = new AbortController();
  #attached: Attached | undefined;
  #attaching = newAttaching();
  #health: NomadHealth;
  /** What Nomad last said of itself, also where it cannot be followed by that. */
  #said: AgentSelf | undefined;

  constructor(parts: NodeFollowerParts) {
    this.#parts = parts;
    this.#health = new NomadHealth(parts.clock);
  }

  /** What Nomad says of itself, with what the configuration says in its place. Undefined until it has. */
  get self(): AgentSelf | undefined {
    return this.#attached?.self;
  }

  get health(): Pick<NomadHealth, 'isConnected' | 'lastListing'> {
    return this.#health;
  }

  /** What is known of the node's allocations. */
  records(): Readonly<AllocationRecord>[] {
    return [...(this.#attached?.reconciler.records() ?? [])];
  }

  /** What allocations that are over have left on this host, by what was last seen. */
  ghosts(): readonly GhostStatus[] {
    return this.#attached?.ghosts.list() ?? [];
  }

  /** What people should know of Nomad and this host, in words. */
  warnings(): string[] {
    return [...this.#nomadWarnings(), ...this.#hostWarnings()];
  }

  /** Whether the network namespace of an allocation belongs to its user, as far as was last seen. */
  isNetnsOwned(id: string): boolean {
    return this.#attached?.host.isNetnsOwned(id) ?? false;
  }

  /** @throws NotYetError `nomad_not_attached`; as Reconciler.explain, withGhosts */
  async explain(id: string): Promise<Explanation | undefined> {
    const attached = this.#attached;
    if (!attached) throw new NotYetError('nomad_not_attached', this.#health.reasons(0).join('; '));
    return withGhosts(id, await attached.reconciler.explain(id), attached.ghosts.list());
  }

  /** Why what we know may not be what is so, in words. */
  reasons(): string[] {
    return this.#health.reasons(hiddenAmong(this.records()));
  }

  /** Resolves once it is stopped, and the passes that ran have ended. What is prepared stays as it is. */
  async follow(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const attached = await this.#untilAnswered(async () => {
        const self = await this.#askWhoItIs();
        signal.throwIfAborted();
        return this.#attach(self);
      }, signal);
      if (!attached) return;
      const failure = await attached.watch.finished.then(
        () => undefined,
        (error: unknown) => ({ error }),
      );
      if (failure) this.#detach(attached, failure.error);
      await attached.reconciler.stop();
      attached.host.close();
      if (failure) await this.#parts.clock.sleep(AFTER_FAILURE_MS, signal).catch(() => undefined);
    }
  }

  /** Users or policy of the configuration have changed: what every allocation gets is decided anew. */
  rulesChanged(): void {
    this.#attached?.reconciler.noticeRules();
  }

  stop(): void {
    this.#stopping.abort(new NotYetError('agent_stopping', 'the agent is stopping'));
    this.#attaching.reject(this.#stopping.signal.reason);
  }

  prepare(allocationId: string): void {
    this.#attached?.readiness.prepare(allocationId);
  }

  async whenIdle(allocationId: string): Promise<void> {
    await this.#attached?.readiness.whenIdle(allocationId);
  }

  ready(request: ReadyRequest, signal: AbortSignal): Promise<ReadyAnswer> {
    return this.#askReadiness((readiness, either) => readiness.ready(request, either), signal);
  }

  permitted(start: Parameters<Readiness['permitted']>[0], signal: AbortSignal): Promise<void> {
    return this.#askReadiness((readiness, either) => readiness.permitted(start, either), signal);
  }

  /** Asks that of the node which Nomad is at last. */
  async #askReadiness<T>(
    ask: (readiness: Readiness, signal: AbortSignal) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    const { readiness, ended } = await this.#whenAttached(signal);
    try {
      return await ask(readiness, AbortSignal.any([signal, ended.signal]));
    } catch (error) {
      if (signal.aborted || !ended.signal.aborted) throw error;
      return await this.#askReadiness(ask, signal);
    }
  }

  /** What Nomad says of itself, once it has. @throws NotYetError `nomad_not_attached` when the signal is aborted before */
  async whenKnown(signal: AbortSignal): Promise<AgentSelf> {
    return (await this.#whenAttached(signal)).self;
  }

  /**
   * Resolves once all that an up-to-date listing has, and all that is on the host, has had a pass: one that failed is tried
   * again later.
   * @throws NotYetError `nomad_not_attached` when the signal is aborted before
   */
  async whenPassedOver(signal: AbortSignal): Promise<void> {
    const { watch, reconciler } = await this.#whenAttached(signal);
    await this.#unlessAborted(watch.lookedAt, signal);
    const passes = [...reconciler.records()].map(({ id }) => reconciler.whenIdle(id));
    await this.#unlessAborted(Promise.all(passes), signal);
  }

  async #whenAttached(signal: AbortSignal): Promise<Attached> {
    return this.#attached ?? (await this.#unlessAborted(this.#attaching.promise, signal));
  }

  /** @throws NotYetError `nomad_not_attached` when the signal is aborted first */
  #unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
    const aborted = new Promise<never>((_, reject) => {
      const giveUp = () => reject(new NotYetError('nomad_not_attached', this.#health.reasons(0).join('; ')));
      if (signal.aborted) giveUp();
      else signal.addEventListener('abort', giveUp, { once: true });
    });
    return Promise.race([promise, aborted]);
  }

  async #askWhoItIs(): Promise<AgentSelf> {
    const { address, nodeId, dataDir, allocDir } = this.#parts.config.nomad;
    const self = await this.#parts.nomad.self(this.#stopping.signal, { nodeId, dataDir, allocDir });
    if (nodeId === undefined) requireOwnNode(self, address);
    const before = this.#nomadWarnings();
    this.#said = self;
    for (const warning of this.#nomadWarnings()) {
      if (!before.includes(warning)) this.#parts.log.warn({ code: 'nomad_disagrees' }, warning);
    }
    return self;
  }

  #nomadWarnings(): string[] {
    const { config, accounts } = this.#parts;
    return this.#said ? nomadWarnings(this.#said, config, accounts) : [];
  }

  #hostWarnings(): string[] {
    try {
      const { host, watch } = this.#attached ?? {};
      return [...(host?.warnings() ?? []), ...(watch?.warnings() ?? [])];
    } catch (error) {
      return [messageOf(error)]; // a directory of Nomad's that has vanished, say: the rest of the status is worth no less
    }
  }

  /** Asks Nomad again and again until it answers. @returns undefined once the signal is aborted */
  async #untilAnswered<T>(ask: () => Promise<T>, signal: AbortSignal): Promise<T | undefined> {
    const { config, clock, log } = this.#parts;
    let reported: string | undefined;
    for (let failures = 1; !signal.aborted; failures++) {
      try {
        const answer = await ask();
        this.#health.well('agent');
        return answer;
      } catch (error) {
        if (signal.aborted) break;
        const message = messageOf(error);
        this.#health.ill('agent', message);
        const fields = { code: codeOf(error), address: config.nomad.address, failures };
        log[message === reported ? 'debug' : 'warn'](fields, `waiting for Nomad: ${message}`);
        reported = message;
        const inMs = Math.min(backoffMs(failures, NOMAD_BACKOFF, Math.random()), retryInMs(error));
        await clock.sleep(inMs, signal).catch(() => undefined);
      }
    }
    return undefined;
  }

  /** @throws what looking at the host throws; nothing is left of it then */
  #attach(self: AgentSelf): Attached {
    const { config, nomad, accounts, makeHost, clock, log, metrics } = this.#parts;
    const { nodeId, allocDir } = self;
    using made = new DisposableStack();
    const host = makeHost({ paths: self });
    made.defer(() => host.close());
    const health = this.#health;
    const ended = new AbortController();
    made.defer(() => ended.abort());
    const hostVolumes = new HostVolumes(() => nomad.hostVolumes(nodeId, this.#stopping.signal), { clock, log });
    const signal = AbortSignal.any([this.#stopping.signal, ended.signal]);
    const reconciler = new Reconciler({
      readAllocation: (id) => this.#readAllocation(id, attached),
      isUpToDate: () => health.isUpToDate(),
      hasDirectory: (id) => host.hasDirectory(id),
      rules: {
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
      },
      accountOf: (user) => accounts.get(user),
      hostVolumes: (names) => hostVolumes.paths(names),
      grantedOn: (id) => host.grantedOn(id),
      resources: host.resources,
      userResources: host.userResources,
      isNetnsOwned: (id) => host.isNetnsOwned(id),
      onEnded: (uids) => ghosts.noticeEnded(uids),
      clock,
      log,
      metrics,
    });
    const stopListening = accounts.onAnswer(() => reconciler.noticeAnswer());
    ended.signal.addEventListener('abort', stopListening, { once: true });
    const ghosts = watchGhosts({ ...this.#parts, self, host, reconciler, health }, signal);
    health.attached();
    let isAsking = false;
    const onListed = async () => {
      ghosts.noticeListed();
      if (isAsking) return;
      isAsking = true;
      await this.#untilAnswered(() => this.#requireSameNode(attached), signal);
      isAsking = false;
    };
    const { resyncIntervalMs: intervalMs, ordering } = config;
    const watch = watchNode(
      { nomad, nodeId, host, reconciler, health, intervalMs, ordering, onListed, clock, log, metrics },
      signal,
    );
    const { csiDir } = self;
    const { isSelinuxOn } = host;
    const policy = () => config.policy;
    const readiness = new ReconcilerReadiness(reconciler, { metaKey: config.metaKey, csiDir, policy, isSelinuxOn });
    const attached: Attached = { self, host, reconciler, readiness, watch, ghosts, ended };
    log.info({ node: nodeId, allocDir, nomad: self.version }, 'attached to Nomad');
    made.move();
    this.#attached = attached;
    this.#attaching.resolve(attached);
    return attached;
  }

  async #readAllocation(id: string, attached: Attached): Promise<Allocation | undefined> {
    const allocation = await this.#parts.nomad.allocation(id, this.#stopping.signal);
    if (!allocation) return undefined;
    attached.watch.cover(allocation.namespace);
    // An allocation of another node, wanted here: its directory is left from before, or it is we who have the wrong id.
    if (allocation.nodeId !== attached.self.nodeId) await this.#requireSameNode(attached);
    return allocation;
  }

  /** @throws NotYetError `nomad_other_node` where Nomad has become another node, which is then followed */
  async #requireSameNode(attached: Attached): Promise<void> {
    const { self } = attached;
    const { nodeId, allocDir } = await this.#askWhoItIs();
    if (nodeId === self.nodeId && allocDir === self.allocDir) return;
    const message = `Nomad was node ${self.nodeId} with ${self.allocDir}, and is node ${nodeId} with ${allocDir} now`;
    const error = new NotYetError('nomad_other_node', message);
    this.#detach(attached, error);
    throw error;
  }

  /** Lets go of a node, to begin anew. */
  #detach(attached: Attached, why: unknown): void {
    if (this.#attached !== attached) return;
    this.#parts.log.warn({ code: codeOf(why) }, messageOf(why));
    this.#health = new NomadHealth(this.#parts.clock);
    this.#health.ill('agent', messageOf(why));
    this.#attached = undefined;
    this.#attaching = newAttaching();
    attached.ended.abort();
  }
}

function newAttaching(): PromiseWithResolvers<Attached> {
  const attaching = Promise.withResolvers<Attached>();
  attaching.promise.catch(() => undefined); // whoever waits for it hears it; nobody has to
  return attaching;
}
