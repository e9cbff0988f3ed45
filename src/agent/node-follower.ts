import { rest } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { codeOf, messageOf, NotYetError } from '../errors.ts';
import type { Readiness, ReadyAnswer, ReadyRequest } from '../gate/readiness.ts';
import { withGhosts } from '../ghosts/explain-ghosts.ts';
import { complaintsOf } from '../model/checks/check.ts';
import type { Explanation } from '../model/explanation.ts';
import type { GhostStatus } from '../model/status.ts';
import type { AgentSelf } from '../nomad/agent-self.ts';
import type { Nomad } from '../nomad/nomad.ts';
import type { AllocationRecord } from '../reconcile/record.ts';
import { retry } from '../retry.ts';
import { WarnedOnce } from '../warned-once.ts';
import { FollowedNode, type NodeParts } from './followed-node.ts';
import { nodeChecks, type Surroundings } from './node-checks.ts';
import { requireOwnNode } from './node-identity.ts';
import { NomadHealth } from './nomad-health.ts';
import { hiddenAmong } from './status.ts';

/** What the follower works with. */
export interface NodeFollowerParts extends NodeParts {
  readonly config: NodeParts['config'] & Pick<Config, 'nomad' | 'gate'>;
  readonly nomad: NodeParts['nomad'] & Pick<Nomad, 'self'>;
  /** Looks at this host: each time that Nomad has said what it is, and when the configuration has changed. */
  readonly lookAround: (self: AgentSelf) => Surroundings;
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
  #attached: FollowedNode | undefined;
  #attaching = newAttaching();
  #health: NomadHealth;
  readonly #warned: WarnedOnce;
  /** What Nomad last said of itself, also where it cannot be followed by that, and what this host was like then. */
  #said: { readonly self: AgentSelf; readonly surroundings: Surroundings } | undefined;

  constructor(parts: NodeFollowerParts) {
    this.#parts = parts;
    this.#health = new NomadHealth(parts.clock);
    this.#warned = new WarnedOnce(parts.clock);
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
    return [...this.#complaints(), ...this.#hostWarnings()];
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

  /** Why what is known of Nomad may be stale, in words. */
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
      const failure = await attached.finished.then(
        () => undefined,
        (error: unknown) => ({ error }),
      );
      if (failure) this.#detach(attached, failure.error);
      await attached.close();
      if (failure) await rest(this.#parts.clock, AFTER_FAILURE_MS, signal);
    }
  }

  /** Users or policy of the configuration have changed: what every allocation gets is decided anew. */
  rulesChanged(): void {
    if (this.#said) this.#lookAround(this.#said.self);
    this.#attached?.reconciler.enqueueAll();
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
      return await ask(readiness, AbortSignal.any([signal, ended]));
    } catch (error) {
      if (signal.aborted || !ended.aborted) throw error;
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
    const { lookedAt, reconciler } = await this.#whenAttached(signal);
    await this.#unlessAborted(lookedAt, signal);
    const passes = [...reconciler.records()].map(({ id }) => reconciler.whenIdle(id));
    await this.#unlessAborted(Promise.all(passes), signal);
  }

  async #whenAttached(signal: AbortSignal): Promise<FollowedNode> {
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
    this.#lookAround(self);
    return self;
  }

  /** Looks at what the checks go by, and logs what is newly wrong. */
  #lookAround(self: AgentSelf): void {
    const { log, lookAround } = this.#parts;
    const before = this.#complaints();
    try {
      this.#said = { self, surroundings: lookAround(self) };
    } catch (error) {
      // Nothing is done by what the checks say: tasks run on.
      log.warn({ code: codeOf(error) }, `cannot look at this host: ${messageOf(error)}`);
    }
    for (const complaint of this.#complaints()) {
      if (!before.includes(complaint)) log.warn({ code: 'check_failed' }, complaint);
    }
  }

  /** What doctor would say of Nomad and this host. */
  #complaints(): string[] {
    const { config, accounts } = this.#parts;
    return this.#said ? complaintsOf(nodeChecks(this.#said.self, this.#said.surroundings, config, accounts)) : [];
  }

  #hostWarnings(): string[] {
    try {
      return this.#attached?.warnings() ?? [];
    } catch (error) {
      return [messageOf(error)]; // a directory of Nomad's that has vanished, say: the rest of the status is worth no less
    }
  }

  /** Asks Nomad again and again until it answers. @returns undefined once the signal is aborted */
  #untilAnswered<T>(ask: () => Promise<T>, signal: AbortSignal): Promise<T | undefined> {
    const { config, clock, log } = this.#parts;
    const onFailure = (error: unknown, failures: number) => {
      const message = messageOf(error);
      this.#health.failed('agent', message);
      const fields = { code: codeOf(error), address: config.nomad.address, failures };
      log[this.#warned.levelOf('agent', message)](fields, `waiting for Nomad: ${message}`);
    };
    const answered = async () => {
      const answer = await ask();
      this.#health.well('agent');
      this.#warned.over('agent');
      return answer;
    };
    return retry(answered, { clock, signal, onFailure });
  }

  /** @throws as FollowedNode.follow */
  #attach(self: AgentSelf): FollowedNode {
    const node = FollowedNode.follow({
      ...this.#parts,
      self,
      health: this.#health,
      requireSameNode: (of) => this.#requireSameNode(of),
      checkSameNode: (of, signal) => this.#untilAnswered(() => this.#requireSameNode(of), signal),
      stopping: this.#stopping.signal,
    });
    this.#parts.log.info({ node: self.nodeId, allocDir: self.allocDir, nomad: self.version }, 'attached to Nomad');
    this.#attached = node;
    this.#attaching.resolve(node);
    return node;
  }

  /** @throws NotYetError `nomad_other_node` where Nomad has become another node, which is then followed */
  async #requireSameNode(attached: FollowedNode): Promise<void> {
    const { self } = attached;
    const { nodeId, allocDir } = await this.#askWhoItIs();
    if (nodeId === self.nodeId && allocDir === self.allocDir) return;
    const message = `Nomad was node ${self.nodeId} with ${self.allocDir}, and is node ${nodeId} with ${allocDir} now`;
    const error = new NotYetError('nomad_other_node', message);
    this.#detach(attached, error);
    throw error;
  }

  /** Lets go of a node, to begin anew. */
  #detach(attached: FollowedNode, why: unknown): void {
    if (this.#attached !== attached) return;
    this.#parts.log.warn({ code: codeOf(why) }, messageOf(why));
    this.#health = new NomadHealth(this.#parts.clock);
    this.#health.failed('agent', messageOf(why));
    this.#attached = undefined;
    this.#attaching = newAttaching();
    attached.end();
  }
}

function newAttaching(): PromiseWithResolvers<FollowedNode> {
  const attaching = Promise.withResolvers<FollowedNode>();
  attaching.promise.catch(() => undefined); // whoever waits for it hears it; nobody has to
  return attaching;
}
