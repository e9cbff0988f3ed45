import { join } from 'node:path';
import { backoffMs, NOMAD_BACKOFF } from '../backoff.ts';
import type { Clock } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { codeOf, messageOf, NotYetError } from '../errors.ts';
import { Gate } from '../gate/gate.ts';
import type { Readiness, ReadyRequest } from '../gate/readiness.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { AgentStatus } from '../model/status.ts';
import type { AgentSelf } from '../nomad/agent-self.ts';
import { Nomad } from '../nomad/nomad.ts';
import { Accounts } from '../reconcile/accounts.ts';
import { Reconciler } from '../reconcile/reconciler.ts';
import { watchDataDir } from '../watch/data-dir.ts';
import { watchEventStream } from '../watch/event-stream.ts';
import { watchNetnsDir } from '../watch/netns-dir.ts';
import { watchListing } from '../watch/resync.ts';
import { AdminServer } from './admin-server.ts';
import { type Host, makeHost, socketOf } from './host.ts';
import { MetricsServer } from './metrics-server.ts';
import { nomadConnection } from './nomad-connection.ts';
import { ReconcilerReadiness } from './readiness.ts';
import { statusOf } from './status.ts';

/** How long requests in flight get to finish when the agent stops. Running tasks do not notice; the driver asks again. */
const GRACE_MS = 10_000;

/** What the agent works with. */
export interface AgentParts {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly version: string;
}

/** What there is once Nomad has said who it is. */
interface Attached {
  readonly self: AgentSelf;
  readonly host: Host;
  readonly reconciler: Reconciler;
  readonly readiness: Readiness;
}

/**
 * The agent: the only place that constructs things, and where they start and stop in order. The gates open before Nomad
 * is asked anything, since the driver calls a socket that does not answer unhealthy; a create waits at them until Nomad
 * has said where its allocations are.
 */
export class Agent implements Readiness {
  readonly #parts: AgentParts;
  readonly #nomad: Nomad;
  readonly #accounts: Accounts;
  readonly #admin: AdminServer;
  readonly #metricsServer: MetricsServer | undefined;
  readonly #startedAt: number;
  readonly #stopping = new AbortController();
  readonly #attaching: Promise<Attached>;
  readonly #attach: PromiseWithResolvers<Attached>;
  readonly #running: Promise<unknown>[] = [];
  #gates: Gate[] = [];
  #attached: Attached | undefined;
  #nomadProblem = 'Nomad has not been asked yet';
  #lastListing: number | undefined;
  #connected = false;

  constructor(parts: AgentParts) {
    const { config, clock, log, metrics } = parts;
    this.#parts = parts;
    this.#startedAt = clock.now();
    this.#nomad = new Nomad(nomadConnection(config.nomad));
    this.#accounts = new Accounts(clock);
    this.#attach = Promise.withResolvers<Attached>();
    this.#attaching = this.#attach.promise;
    this.#attaching.catch(() => undefined); // whoever waits for it hears it; nobody has to
    const status = () => this.status();
    this.#admin = new AdminServer({ socketPath: config.admin.socket, status, log });
    const address = config.metrics.address;
    this.#metricsServer = address && new MetricsServer({ address, registry: metrics.registry, status, log });
  }

  /** @throws RefusedError where another agent runs, or a gate cannot be opened */
  async start(): Promise<void> {
    // The admin socket comes first: it is also the lock that keeps a second agent from the host.
    await this.#admin.listen();
    this.#running.push(this.#serveMetrics());
    if (this.#parts.config.ordering === 'gate') this.#gates = await this.#openGates();
    this.#running.push(this.#attachToNomad());
  }

  /** Stops in the reverse order. What is prepared stays as it is: running tasks need it. */
  async stop(): Promise<void> {
    const { log } = this.#parts;
    log.info({}, 'stopping; what is prepared stays for the tasks that run');
    await Promise.all(this.#gates.map((gate) => gate.close({ graceMs: GRACE_MS })));
    this.#stopping.abort(new NotYetError('agent_stopping', 'the agent is stopping'));
    this.#attach.reject(this.#stopping.signal.reason);
    await Promise.all(this.#running);
    await this.#attached?.reconciler.stop();
    this.#attached?.host.close();
    await this.#metricsServer?.close();
    await this.#admin.close();
    await this.#nomad.close();
    log.info({}, 'stopped');
  }

  prepare(allocationId: string): void {
    this.#attached?.readiness.prepare(allocationId);
  }

  async ready(request: ReadyRequest, signal: AbortSignal): Promise<void> {
    const { readiness } = await this.#whenAttached(signal);
    await readiness.ready(request, signal);
  }

  status(): AgentStatus {
    const { config, version } = this.#parts;
    const reconciler = this.#attached?.reconciler;
    const isOwned = (id: string) => this.#attached?.host.isNetnsOwned(id) ?? false;
    const reasons = [
      ...(this.#attached ? [] : [this.#nomadProblem]),
      ...(this.#attached && !this.#connected ? ['the event stream does not stand; see the log'] : []),
      ...(this.#lastListing === undefined ? ["this node's allocations have not been listed yet"] : []),
    ];
    return {
      version,
      nodeId: this.#attached?.self.nodeId ?? '',
      startedAt: this.#startedAt,
      nomad: { connected: this.#connected, lastListing: this.#lastListing },
      ready: reasons.length === 0,
      reasons,
      allocations: [...(reconciler?.records() ?? [])].flatMap(
        (record) => statusOf(record, config.access, isOwned) ?? [],
      ),
    };
  }

  /** Any local user can take the port before us: that costs the metrics until it is free, not the tasks. */
  async #serveMetrics(): Promise<void> {
    const { clock, log, metrics } = this.#parts;
    const { signal } = this.#stopping;
    for (let failures = 1; this.#metricsServer && !signal.aborted; failures++) {
      try {
        await this.#metricsServer.listen();
        return;
      } catch (error) {
        metrics.errors.inc({ code: codeOf(error) });
        log.error({ code: codeOf(error), failures }, messageOf(error));
        await clock.sleep(backoffMs(failures, NOMAD_BACKOFF, Math.random()), signal).catch(() => undefined);
      }
    }
  }

  async #openGates(): Promise<Gate[]> {
    const { config, clock, log, metrics } = this.#parts;
    const gates: Gate[] = [];
    for (const [name, { socket }] of config.users) {
      const account = this.#accounts.get(name);
      if (!account) {
        log.error(
          { user: name, code: 'unknown_user' },
          `user ${name} of the configuration is not on this host: no gate`,
        );
        continue;
      }
      const gate = new Gate({
        user: { ...account, name, socket: socketOf(account.uid, socket) },
        path: join(config.gate.dir, `${name}.sock`),
        directories: (signal) => this.#whenAttached(signal).then(({ self }) => self),
        readiness: this,
        timeoutMs: config.gate.timeoutMs,
        clock,
        log,
        metrics,
      });
      await gate.listen();
      gates.push(gate);
    }
    log.info({ users: gates.length, dir: config.gate.dir }, 'gates are open');
    return gates;
  }

  async #attachToNomad(): Promise<void> {
    const { config, clock, log } = this.#parts;
    const { signal } = this.#stopping;
    const { nodeId, dataDir, allocDir } = config.nomad;
    for (let failures = 1; !signal.aborted; failures++) {
      try {
        const self = await this.#nomad.self(signal, { nodeId, dataDir, allocDir });
        this.#attached = this.#build(self);
        this.#attach.resolve(this.#attached);
        log.info({ node: self.nodeId, allocDir: self.allocDir, nomad: self.version }, 'attached to Nomad');
        this.#watch(this.#attached);
        return;
      } catch (error) {
        if (signal.aborted) return;
        this.#nomadProblem = messageOf(error);
        log.warn({ code: codeOf(error), address: config.nomad.address }, `waiting for Nomad: ${messageOf(error)}`);
        await clock.sleep(backoffMs(failures, NOMAD_BACKOFF, Math.random()), signal).catch(() => undefined);
      }
    }
  }

  #build(self: AgentSelf): Attached {
    const { config, clock, log, metrics } = this.#parts;
    const accountOf = (user: string | number) => this.#accounts.get(user);
    const liveUids = () => this.#liveUids();
    const onSwap = (id: string, point: string) => log.debug({ allocation: id, point }, 'handing over a netns');
    const host: Host = makeHost({ config, allocDir: self.allocDir, accountOf, liveUids, onSwap });
    const reconciler = new Reconciler({
      readAllocation: (id) => this.#nomad.allocation(id, this.#stopping.signal),
      isUpToDate: () => this.#connected,
      rules: {
        nodeId: self.nodeId,
        metaKey: config.metaKey,
        minUid: config.minUid,
        configured: new Set(config.users.keys()),
        policy: config.policy,
      },
      accountOf,
      hostVolumes: () => this.#nomad.hostVolumes(self.nodeId, this.#stopping.signal),
      grantedOn: (id) => host.grantedOn(id),
      resources: host.resources,
      clock,
      log,
      metrics,
    });
    return { self, host, reconciler, readiness: new ReconcilerReadiness(reconciler, config.metaKey) };
  }

  #watch({ self, host, reconciler }: Attached): void {
    const { config, clock, log, metrics } = this.#parts;
    const { signal } = this.#stopping;
    const onAllocation = (id: string) => reconciler.notice(id);
    const onStanding = (standing: boolean) => {
      this.#connected = standing;
    };
    const source = { nomad: this.#nomad, nodeId: self.nodeId, clock, log, metrics };
    const listing = watchListing(
      {
        ...source,
        intervalMs: config.resyncIntervalMs,
        onListing: (allocations) => {
          this.#lastListing = clock.now();
          reconciler.noticeListed(allocations);
          // What is on the host and not in the listing may be left over from before: each is asked for by its id.
          for (const id of host.allocationIds()) reconciler.noticeFound(id);
          void this.#sweep(host);
        },
      },
      signal,
    );
    const stopDirectory = watchDataDir({ allocDir: host.allocDir, onAllocation, log });
    signal.addEventListener('abort', () => void stopDirectory(), { once: true });
    if (config.ordering === 'watch') {
      const onNetns = (id: string) => reconciler.noticeHost(id);
      const stopNetns = watchNetnsDir({ netnsDir: host.netnsDir, onAllocation: onNetns, log });
      signal.addEventListener('abort', () => void stopNetns(), { once: true });
    }
    this.#running.push(
      listing.finished,
      watchEventStream({ ...source, onAllocation, onStanding, onGap: () => listing.refresh() }, signal),
    );
  }

  /** Takes away what belongs to no allocation; what fails is tried again after the next listing. */
  async #sweep(host: Host): Promise<void> {
    const { log, metrics } = this.#parts;
    try {
      for (const step of host.sweep()) {
        await step.apply();
        metrics.cleanup.inc({ kind: step.kind });
        log.info({ kind: step.kind, removes: true }, step.what);
      }
    } catch (error) {
      metrics.errors.inc({ code: codeOf(error) });
      log.warn({ code: codeOf(error) }, `sweeping: ${messageOf(error)}`);
    }
  }

  #liveUids(): ReadonlySet<number> | undefined {
    return this.#lastListing === undefined ? undefined : this.#attached?.reconciler.liveUids();
  }

  async #whenAttached(signal: AbortSignal): Promise<Attached> {
    if (this.#attached) return this.#attached;
    const aborted = new Promise<never>((_, reject) => {
      const giveUp = () => reject(new NotYetError('nomad_not_attached', this.#nomadProblem));
      if (signal.aborted) giveUp();
      else signal.addEventListener('abort', giveUp, { once: true });
    });
    return Promise.race([this.#attaching, aborted]);
  }
}
