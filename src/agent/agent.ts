import type { Clock } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { knownSecrets } from '../config/known-secrets.ts';
import { codeOf, messageOf, NotYetError } from '../errors.ts';
import type { ServiceManager } from '../linux/service-manager.ts';
import { lockStateDir } from '../linux/state-lock.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { complaintsOf } from '../model/checks/check.ts';
import type { Explanation } from '../model/explanation.ts';
import type { AgentStatus } from '../model/status.ts';
import { Nomad } from '../nomad/nomad.ts';
import { Accounts } from '../reconcile/accounts.ts';
import { retry } from '../retry.ts';
import { AdminServer } from './admin-server.ts';
import { Gates } from './gates.ts';
import { makeHost } from './host.ts';
import { directoriesBy } from './host-directories.ts';
import { type AgentHealth, MetricsServer } from './metrics-server.ts';
import { accountChecks, lookAround } from './node-checks.ts';
import { NodeFollower } from './node-follower.ts';
import { nomadConnection } from './nomad-connection.ts';
import { ServiceState } from './service-state.ts';
import { statusOf } from './status.ts';

/** At the first boot there is no last answer of any Podman: so long the gates are not called ready without one. */
const FIRST_ANSWER_MS = 3000;
/** What a request that was held to the end gets for its answer, when the agent stops. */
const ANSWER_MS = 2000;

/** What the agent works with. */
interface AgentParts {
  /** Users, policy, tokens and the log's level may change under it: LiveConfig's. */
  readonly config: Config;
  readonly manager: ServiceManager;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly version: string;
}

/**
 * The agent: constructs what there is whichever node Nomad is (followed-node.ts what there is for one, host.ts what of this host), and
 * starts and stops it in order. The gates open before Nomad is asked anything, since the driver calls a socket that does not answer
 * unhealthy; a create waits at them until Nomad has said where its allocations are.
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
  readonly #gates: Gates;
  /** What ends the look-ups of the users of the configuration, where there are no gates to follow them. */
  readonly #watched = new Map<string, () => void>();
  readonly #service: ServiceState;
  #stateLock: Disposable | undefined;

  constructor(parts: AgentParts) {
    const { config, clock, log, metrics, manager } = parts;
    this.#parts = parts;
    this.#startedAt = clock.now();
    this.#nomad = new Nomad(nomadConnection(config.nomad));
    this.#accounts = new Accounts({ clock, log });
    const accountOf = (name: string) => this.#accounts.known(name);
    const onMigration = (id: string, point: string) =>
      log.debug({ allocation: id, point }, 'migrating a network namespace');
    this.#node = new NodeFollower({
      ...parts,
      nomad: this.#nomad,
      accounts: this.#accounts,
      lookAround,
      makeHost: (options) => makeHost({ config, accountOf, clock, onMigration, ...options }),
    });
    const status = () => this.status();
    const explain = (id: string) => this.#explain(id);
    this.#admin = new AdminServer({ socketPath: config.admin.socket, status, explain, log, manager });
    const directories = directoriesBy(config);
    this.#gates = new Gates({
      ...parts,
      directories: async (signal) => directories(await this.#node.whenKnown(signal)),
      readiness: this.#node,
      watchAccount: (name, onChange) => this.#accounts.watch(name, onChange),
    });
    this.#service = new ServiceState(manager, { clock, log, text: () => this.#summary() });
    const { address, group, names } = config.metrics;
    const health = () => this.#health();
    this.#metricsServer =
      address &&
      new MetricsServer({
        address,
        group,
        names,
        registry: metrics.registry,
        openMetrics: metrics.openMetrics,
        health,
        status,
        secrets: () => this.#secrets(),
        clock,
        log,
      });
  }

  /** @throws RefusedError where another agent runs, or a gate cannot be opened */
  async start(): Promise<void> {
    // The admin socket comes first: it is also the lock that keeps a second agent from the host, but for one with another socket.
    await this.#admin.listen();
    try {
      this.#stateLock = lockStateDir(this.#parts.config.stateDir);
    } catch (error) {
      await this.#admin.close();
      throw error;
    }
    this.#running.push(this.#serveMetrics());
    await this.#followUsers();
    await this.#gates.whenAnswering(FIRST_ANSWER_MS);
    this.#service.ready();
    this.#running.push(this.#node.follow());
  }

  /** Follows a configuration that has changed. @throws RefusedError where a gate cannot be opened */
  async reload(): Promise<void> {
    this.#service.reloading();
    try {
      await this.#followUsers();
      this.#node.rulesChanged();
    } finally {
      this.#service.ready();
    }
  }

  /** A configuration that cannot be read was to be followed: the last one stays. */
  reloadFailed(error: unknown): void {
    this.#service.reloading();
    this.#parts.log.error(
      { code: codeOf(error) },
      `reload failed, the previous configuration stays in effect: ${messageOf(error)}`,
    );
    this.#service.ready();
  }

  /** Stops in the reverse order. What is prepared stays as it is: running tasks need it. */
  async stop(): Promise<void> {
    const { config, log } = this.#parts;
    log.info({}, 'stopping; mounts, ACLs and networks of running tasks stay in place');
    const graceMs = config.gate.timeoutMs + ANSWER_MS;
    this.#service.stopping(Gates.longestCloseMs(graceMs));
    await this.#gates.close(graceMs);
    this.#stopping.abort(new NotYetError('agent_stopping', 'the agent is stopping'));
    this.#node.stop();
    await Promise.all(this.#running);
    this.#metricsServer?.close();
    await this.#admin.close();
    this.#accounts.close();
    await this.#nomad.close();
    this.#stateLock?.[Symbol.dispose]();
    this.#service.end();
    log.info({}, 'stopped');
  }

  status(): AgentStatus {
    const { version } = this.#parts;
    const { isConnected: connected, lastListing } = this.#node.health;
    const isOwned = (id: string) => this.#node.isNetnsOwned(id);
    return {
      version,
      nodeId: this.#node.self?.nodeId ?? '',
      startedAt: this.#startedAt,
      nomad: { connected, lastListing },
      ...this.#health(),
      ghosts: this.#node.ghosts(),
      held: this.#gates.held(),
      refusals: this.#gates.refusals(),
      allocations: this.#node.records().flatMap((record) => statusOf(record, isOwned) ?? []),
    };
  }

  async #explain(id: string): Promise<Explanation | undefined> {
    const explanation = await this.#node.explain(id);
    const turnedAway = this.#gates.refusals().filter(({ allocationId }) => allocationId === id);
    return explanation && { ...explanation, turnedAway };
  }

  #health(): AgentHealth {
    const reasons = this.#node.reasons();
    const accounts = complaintsOf(accountChecks(this.#parts.config, this.#accounts));
    const warnings = [...this.#node.warnings(), ...accounts];
    return { ready: reasons.length === 0, reasons, warnings, users: this.#gates.users() };
  }

  /** A token that cannot be read now goes by its form alone, if it was sent and comes back: the page is what says that it cannot. */
  #secrets(): string[] {
    const { config, log } = this.#parts;
    try {
      return knownSecrets(config.nomad, {});
    } catch (error) {
      log.debug(
        { code: codeOf(error), reason: messageOf(error) },
        'cannot read the token that the status page must not show',
      );
      return [];
    }
  }

  /** Any local user can take the port before us: that costs the metrics until it is free, not the tasks. */
  async #serveMetrics(): Promise<void> {
    const { clock, log, metrics } = this.#parts;
    const { signal } = this.#stopping;
    const onFailure = (error: unknown, failures: number) => {
      metrics.errors.inc({ code: codeOf(error) });
      log.error({ code: codeOf(error), failures }, messageOf(error));
    };
    await retry(async () => this.#metricsServer?.listen(), { clock, signal, onFailure });
  }

  async #followUsers(): Promise<void> {
    const { config } = this.#parts;
    if (config.ordering === 'gate') return await this.#gates.follow(config.users);
    // A pass that has to wait for the name service comes too late for a create that nothing holds.
    for (const [name, stop] of this.#watched) {
      if (config.users.has(name)) continue;
      stop();
      this.#watched.delete(name);
    }
    for (const name of config.users.keys()) {
      if (!this.#watched.has(name))
        this.#watched.set(
          name,
          this.#accounts.watch(name, () => undefined),
        );
    }
  }

  #summary(): string {
    const reasons = this.#node.reasons();
    const users = this.#gates.users();
    const down = users.filter(({ podman }) => podman === 'down').map(({ name }) => name);
    const allocations = this.#node.records().filter(({ desired }) => desired?.kind === 'access').length;
    return [
      reasons.length === 0 ? 'Ready' : `Not ready: ${reasons.join('; ')}`,
      `${users.length} gates, ${allocations} allocations`,
      ...(down.length === 0 ? [] : [`no answer from the Podman of ${down.join(', ')}`]),
    ].join('; ');
  }
}
