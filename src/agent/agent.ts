import { join } from 'node:path';
import { backoffMs, NOMAD_BACKOFF } from '../backoff.ts';
import type { Clock } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { codeOf, messageOf, NotYetError } from '../errors.ts';
import { Gate } from '../gate/gate.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { AgentStatus } from '../model/status.ts';
import { Nomad } from '../nomad/nomad.ts';
import { Accounts } from '../reconcile/accounts.ts';
import { AdminServer } from './admin-server.ts';
import { makeHost, socketOf } from './host.ts';
import { MetricsServer } from './metrics-server.ts';
import { NodeFollower } from './node-follower.ts';
import { nomadConnection } from './nomad-connection.ts';
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

/**
 * The agent: the only place that constructs things, and where they start and stop in order. The gates open before Nomad
 * is asked anything, since the driver calls a socket that does not answer unhealthy; a create waits at them until Nomad
 * has said where its allocations are.
 */
export class Agent {
  readonly #parts: AgentParts;
  readonly #nomad: Nomad;
  readonly #accounts: Accounts;
  readonly #node: NodeFollower;
  readonly #admin: AdminServer;
  readonly #metricsServer: MetricsServer | undefined;
  readonly #startedAt: number;
  readonly #stopping = new AbortController();
  readonly #running: Promise<unknown>[] = [];
  #gates: Gate[] = [];

  constructor(parts: AgentParts) {
    const { config, clock, log, metrics } = parts;
    this.#parts = parts;
    this.#startedAt = clock.now();
    this.#nomad = new Nomad(nomadConnection(config.nomad));
    this.#accounts = new Accounts(clock);
    const accountOf = (user: string | number) => this.#accounts.get(user);
    const onSwap = (id: string, point: string) => log.debug({ allocation: id, point }, 'handing over a netns');
    this.#node = new NodeFollower({
      ...parts,
      nomad: this.#nomad,
      accountOf,
      makeHost: (options) => makeHost({ config, accountOf, onSwap, ...options }),
    });
    const status = () => this.status();
    const explain = (id: string) => this.#node.explain(id);
    this.#admin = new AdminServer({ socketPath: config.admin.socket, status, explain, log });
    const address = config.metrics.address;
    this.#metricsServer = address && new MetricsServer({ address, registry: metrics.registry, status, log });
  }

  /** @throws RefusedError where another agent runs, or a gate cannot be opened */
  async start(): Promise<void> {
    // The admin socket comes first: it is also the lock that keeps a second agent from the host.
    await this.#admin.listen();
    this.#running.push(this.#serveMetrics());
    if (this.#parts.config.ordering === 'gate') this.#gates = await this.#openGates();
    this.#running.push(this.#node.follow());
  }

  /** Stops in the reverse order. What is prepared stays as it is: running tasks need it. */
  async stop(): Promise<void> {
    const { log } = this.#parts;
    log.info({}, 'stopping; what is prepared stays for the tasks that run');
    await Promise.all(this.#gates.map((gate) => gate.close({ graceMs: GRACE_MS })));
    this.#stopping.abort(new NotYetError('agent_stopping', 'the agent is stopping'));
    this.#node.stop();
    await Promise.all(this.#running);
    await this.#metricsServer?.close();
    await this.#admin.close();
    await this.#nomad.close();
    log.info({}, 'stopped');
  }

  status(): AgentStatus {
    const { version } = this.#parts;
    const { isConnected: connected, lastListing } = this.#node.health;
    const reasons = this.#node.reasons();
    const isOwned = (id: string) => this.#node.isNetnsOwned(id);
    return {
      version,
      nodeId: this.#node.self?.nodeId ?? '',
      startedAt: this.#startedAt,
      nomad: { connected, lastListing },
      ready: reasons.length === 0,
      reasons,
      warnings: this.#node.warnings(),
      allocations: this.#node.records().flatMap((record) => statusOf(record, isOwned) ?? []),
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
        directories: (signal) => this.#node.whenKnown(signal),
        readiness: this.#node,
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
}
