import { join } from 'node:path';
import { within } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { codeOf, messageOf } from '../errors.ts';
import { Gate, type GateParts } from '../gate/gate.ts';
import { Holds } from '../gate/holds.ts';
import { Images } from '../gate/images.ts';
import { LastRefusals } from '../gate/last-refusals.ts';
import { closeFd } from '../linux/libc.ts';
import type { ServiceManager } from '../linux/service-manager.ts';
import { makeRoomForSocket, makeSocketDirectory } from '../linux/socket-file.ts';
import {
  giveSocketFile,
  listenAt,
  removeSocketFile,
  socketFileIsThere,
  whyNotListeningAt,
} from '../linux/unix-listener.ts';
import type { Metrics } from '../metrics.ts';
import type { GateRefusal, HeldCreate, UserStatus } from '../model/status.ts';
import { LastAnswers, type Question } from '../podman/last-answers.ts';
import { UserPodman } from '../podman/user-podman.ts';
import type { HostUser } from '../reconcile/host-user.ts';
import { socketOf } from './host.ts';

/** What the gates work with. */
interface GatesParts extends Pick<GateParts, 'directories' | 'readiness' | 'clock' | 'log'> {
  readonly config: Pick<Config, 'gate' | 'stateDir'>;
  readonly metrics: Metrics;
  readonly manager: ServiceManager;
  /**
   * Follows the account of a user until the returned function is called. `onChange` is called when there is one, when it
   * changes, and with undefined when it goes; never during the call.
   */
  readonly watchAccount: (name: string, onChange: (account: HostUser | undefined) => void) => () => void;
}

interface OpenGate {
  readonly gate: Gate;
  readonly podman: UserPodman;
  readonly path: string;
  /** What the configuration says in place of podman.sock below /run/user. */
  readonly socket: string | undefined;
  stopWatching: () => void;
  account: HostUser | undefined;
  /** Resolved when her Podman has been asked what it is, whatever came of it. */
  readonly greeted: PromiseWithResolvers<void>;
}

/** A request that has lasted longer waits for something: an allocation that is not ready, a Podman that hangs. */
const PROMPT_MS = 1000;

/** The owner of a socket file until the user's account is known. */
const ROOT = { uid: 0, gid: 0 };
const MODE = 0o600;

/**
 * The gates of all users of the configuration. Each listens from the start, whether the host knows its user yet or not: the
 * driver is unhealthy for everybody while one of its sockets does not answer. Where a service manager keeps their sockets,
 * these outlive us.
 */
export class Gates {
  readonly #parts: GatesParts;
  readonly #answers: LastAnswers;
  readonly #images: Images;
  readonly #holds: Holds;
  readonly #refusals: LastRefusals;
  readonly #open = new Map<string, OpenGate>();
  #followed: Promise<void> = Promise.resolve();
  #isClosing = false;

  constructor(parts: GatesParts) {
    this.#parts = parts;
    this.#answers = new LastAnswers(parts.manager.stateDirectory ?? parts.config.stateDir, parts);
    this.#images = new Images(parts.clock);
    this.#holds = new Holds(parts.clock);
    this.#refusals = new LastRefusals(parts.clock);
  }

  /**
   * Opens the gates of users that have none, and anew where somebody has removed the socket file; closes those of users that
   * are no longer there. One call after the other: two at once would open a gate for a user whom the later one does not have.
   * @throws RefusedError where a gate cannot be opened
   */
  follow(users: Config['users']): Promise<void> {
    const followed = this.#followed.then(() => this.#follow(users));
    this.#followed = followed.catch(() => undefined); // whoever has called hears it
    return followed;
  }

  async #follow(users: Config['users']): Promise<void> {
    const { config, log } = this.#parts;
    if (this.#isClosing) return;
    makeSocketDirectory(config.gate.dir);
    this.#answers.load(users.keys());
    for (const [name, open] of this.#open) {
      const settings = users.get(name);
      const isRemoved = !socketFileIsThere(open.path);
      if (!settings || settings.socket !== open.socket || isRemoved) this.#close(name, open);
    }
    for (const [name, { socket }] of users) if (!this.#open.has(name)) await this.#openGate(name, socket);
    this.#parts.manager.dropRest();
    log.info({ users: this.#open.size, dir: config.gate.dir }, 'gates are open');
  }

  /**
   * Resolves once a ping can be answered for every user: some Podman has said what it is, now or in an earlier life of
   * ours. Or when none can say it, or after `ms`. The driver that is told something else is unhealthy for half a minute.
   */
  async whenAnswering(ms: number): Promise<void> {
    const first = (['ping', 'info'] as const).map((question) => this.#answers.next(question));
    const isKnown = (question: Question) => [...this.#open.keys()].some((name) => this.#answers.find(name, question));
    if (isKnown('ping') && isKnown('info')) return;
    const greeted = [...this.#open.values()].map((open) => open.greeted.promise);
    await within(this.#parts.clock, ms, Promise.race([Promise.all(first), Promise.all(greeted)]));
  }

  /** What is known of each user, for people. */
  users(): UserStatus[] {
    return [...this.#open.values()].map(({ podman, path, account }) => {
      const { state, ...health } = podman.health;
      return { name: podman.name, uid: account?.uid, gate: path, podman: state, ...health };
    });
  }

  /** What is held now, for people: the longest first. */
  held(): HeldCreate[] {
    return this.#holds.list();
  }

  /** What was last turned away, for people: the newest first. */
  refusals(): GateRefusal[] {
    return this.#refusals.list();
  }

  /** How long `close` takes at the most, in ms. */
  static longestCloseMs(graceMs: number): number {
    return 2 * graceMs;
  }

  /**
   * Has what is under way answered, and ends. Where the sockets are kept, who connects meanwhile waits for the next of us; where
   * not, requests are served until nothing is under way, so that the gap is as short as it can be. A gate with a request that lasts
   * is drained before the others, which go on: one user's Podman that hangs keeps nobody else waiting.
   * @param graceMs how long a request may last
   */
  async close(graceMs: number): Promise<void> {
    const { manager } = this.#parts;
    this.#isClosing = true;
    await this.#followed;
    const gates = [...this.#open.values()];
    const drain = (some: readonly OpenGate[]) => Promise.all(some.map(({ gate }) => gate.drain(graceMs)));
    const first = manager.keeps ? gates.filter(({ gate }) => gate.isServingFor(PROMPT_MS)) : gates;
    if (manager.keeps) for (const { gate } of first) gate.stopAccepting();
    await drain(first);
    for (const { gate, path } of gates) {
      gate.stopAccepting();
      if (!manager.keeps) removeSocketFile(path);
    }
    await drain(gates);
    // Not before: what is under way may wait for the account.
    for (const { gate, stopWatching } of gates) {
      stopWatching();
      gate.cut();
    }
    this.#open.clear();
  }

  async #openGate(name: string, socket: string | undefined): Promise<void> {
    const { config, clock, log, metrics, directories, readiness } = this.#parts;
    const path = join(config.gate.dir, `${name}.sock`);
    const podman = new UserPodman(name, { clock, log, metrics, answers: this.#answers });
    const fd = this.#takeKept(name, path) ?? (await this.#listen(name, path));
    const { timeoutMs } = config.gate;
    const onRefusal: GateParts['onRefusal'] = (refusal) => this.#refusals.note({ user: name, ...refusal });
    const gate = new Gate({
      onRefusal,
      podman,
      images: this.#images,
      holds: this.#holds,
      directories,
      readiness,
      timeoutMs,
      clock,
      log,
      metrics,
    });
    await gate.open(fd);
    const greeted = Promise.withResolvers<void>();
    const open: OpenGate = { gate, podman, path, socket, stopWatching: () => undefined, account: undefined, greeted };
    open.stopWatching = this.#parts.watchAccount(name, (found) => this.#setAccount(open, found));
    this.#open.set(name, open);
  }

  /**
   * The driver gives a task's log FIFOs to the owner of the socket file, which the directory keeps from its owner all the same. A
   * file that was kept has its owner already: root's in between would be that of tasks that start just then.
   */
  #setAccount(open: OpenGate, account: HostUser | undefined): void {
    const { gate, path, podman, socket, greeted } = open;
    const { log } = this.#parts;
    if (open.account && open.account.uid !== account?.uid) gate.cut();
    open.account = account;
    podman.setUser(account && { ...account, name: podman.name, socket: socketOf(account.uid, socket) });
    try {
      // An agent that goes has removed it, where nobody keeps it.
      if (!this.#isClosing || this.#parts.manager.keeps) giveSocketFile(path, { ...(account ?? ROOT), mode: MODE });
    } catch (error) {
      const message = `the socket file of the gate of user ${podman.name} cannot be given to the user: ${messageOf(error)}; if it was removed, run: systemctl reload nomad-rootless`;
      log.error({ user: podman.name, path, code: 'gate_socket_file' }, message);
    }
    if (account) void podman.greet().then(greeted.resolve);
  }

  #takeKept(name: string, path: string): number | undefined {
    const { manager, log } = this.#parts;
    const fd = manager.take(keptName(name));
    if (fd === undefined) return undefined;
    const problem = why(fd, path);
    if (problem === undefined) return fd;
    log.warn({ user: name, path, reason: problem }, 'the socket that was kept for a gate is not that of the gate');
    closeFd(path, fd);
    manager.forget(keptName(name));
    return undefined;
  }

  async #listen(name: string, path: string): Promise<number> {
    await makeRoomForSocket(path);
    const fd = listenAt(path, { ...ROOT, mode: MODE });
    this.#parts.manager.keep(keptName(name), fd);
    return fd;
  }

  #close(name: string, { gate, path, podman, stopWatching }: OpenGate): void {
    stopWatching();
    gate.stopAccepting();
    gate.cut();
    removeSocketFile(path);
    this.#parts.manager.forget(keptName(name));
    podman.retire();
    this.#open.delete(name);
    this.#parts.log.info({ user: name }, 'the gate of a user is closed');
  }
}

/** sd_notify(3): ASCII without control characters and colons, which no user name here has. */
function keptName(user: string): string {
  return `gate-${user}`;
}

function why(fd: number, path: string): string | undefined {
  try {
    return whyNotListeningAt(fd, path);
  } catch (error) {
    return `${codeOf(error)}: ${messageOf(error)}`;
  }
}
