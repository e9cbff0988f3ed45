import type { Socket } from 'node:net';
import { type Clock, rest, within } from '../clock.ts';
import { messageOf, NotYetError, ParseError, RootlessError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { connectToPodman, type PodmanUser } from './connect.ts';
import { infoOf } from './info.ts';
import { type GoodAnswer, type LastAnswers, MAX_ANSWER_BYTES, type Question } from './last-answers.ts';
import { callPodman } from './podman-api.ts';

/** Whether a user's Podman answers: `unknown` until it has been asked. `since` is in milliseconds since the epoch. */
interface PodmanHealth {
  readonly state: 'unknown' | 'up' | 'down';
  readonly since: number;
  /** Podman's version, as it last said. */
  readonly version?: string | undefined;
  /** Why it is down, with the remedy. */
  readonly problem?: string | undefined;
}

/** What a UserPodman works with. */
interface UserPodmanParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Pick<Metrics, 'userPodmanUp' | 'gateHoldSeconds' | 'gateAnswerSeconds'>;
  readonly answers: LastAnswers;
}

/** The driver asks all its sockets in a row, and gets its answer within this time whatever a user's Podman does. */
const ANSWERED_WITHIN_MS = 900;
/** A busy Podman takes some seconds; one that takes longer does not answer. */
const PATIENCE_MS = 10_000;
/** How often a Podman that cannot be reached is tried while a request waits for it. */
const TRIED_EACH_MS = 200;
/** Headers that say what Podman is: pkg/api/server/handler_api.go and handlers/utils/handler.go of Podman. */
const KEPT_HEADERS = [
  'api-version',
  'libpod-api-version',
  'buildah-version',
  'server',
  'content-type',
  'docker-experimental',
];
const VERSION_HEADER = 'libpod-api-version';

/** One user's Podman: the way to it, and how it is. What happens to it is that user's trouble, and nobody else's. */
export class UserPodman {
  /** The name of the user in the configuration. */
  readonly name: string;
  readonly #parts: UserPodmanParts;
  #user: PodmanUser | undefined;
  #health: PodmanHealth;
  #isGivenUp = false;
  #down: RootlessError | undefined;
  /** By the monotonic clock. */
  #downSince: number | undefined;
  /** Who waits for a connection, the longest first. */
  readonly #waiting = new Set<(socket: Socket) => void>();
  #isConnecting = false;
  /** What is being asked: a Podman that hangs is asked once, not once more each time somebody wants to know. */
  readonly #asking = new Map<Question, Promise<GoodAnswer>>();

  constructor(name: string, parts: UserPodmanParts) {
    this.name = name;
    this.#parts = parts;
    this.#health = { state: 'unknown', since: parts.clock.now() };
    parts.metrics.userPodmanUp.set({ user: name }, 0);
    parts.metrics.gateHoldSeconds.zero({ user: name });
    parts.metrics.gateAnswerSeconds.zero({ user: name });
  }

  /** @param user undefined where the host does not know the user, or not yet */
  setUser(user: PodmanUser | undefined): void {
    this.#user = user;
  }

  /** @throws NotYetError `unknown_user` while the host does not know the user */
  get user(): PodmanUser {
    if (this.#user) return this.#user;
    const remedy = 'make the account, or see why the name service (nsswitch.conf) does not have it';
    throw new NotYetError('unknown_user', `user ${this.name} of the configuration is not on this host; ${remedy}`);
  }

  /** @throws NotYetError `unknown_user` once the signal is aborted */
  async userWhenKnown(signal: AbortSignal): Promise<PodmanUser> {
    while (!this.#user && !signal.aborted) {
      await rest(this.#parts.clock, TRIED_EACH_MS, signal);
    }
    return this.user;
  }

  get health(): PodmanHealth {
    return this.#health;
  }

  /** Whether a request has waited for it in vain since it last answered. */
  get isGivenUp(): boolean {
    return this.#isGivenUp;
  }

  /** For how much of `ms` it is still worth waiting for it, from when it went down on. */
  patienceMs(ms: number): number {
    if (this.#downSince === undefined) return ms;
    return Math.max(0, this.#downSince + ms - this.#parts.clock.monotonic());
  }

  /** A request has waited for it in vain: the next ones of the same start need not wait as long again. */
  giveUp(): void {
    this.#isGivenUp = true;
  }

  /** Connects once. @throws as connectToPodman; NotYetError `unknown_user` */
  async connect(): Promise<Socket> {
    try {
      return await connectToPodman(this.user);
    } catch (error) {
      this.failed(error);
      throw error;
    }
  }

  /**
   * Connects once it can be reached: at once, or when whoever waited before has its connection. All who wait share one attempt
   * each 200 ms: the driver asks for each of a user's tasks once a second, and what waits must cost nobody else anything.
   * @throws why it could not be reached, once the signal is aborted
   */
  connectWhenReachable(signal: AbortSignal): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const message = `the Podman of user ${this.name} could not be reached in time`;
      const leave = () => {
        this.#waiting.delete(take);
        reject(this.#down ?? new NotYetError('podman_unreachable', message));
      };
      const take = (socket: Socket) => {
        signal.removeEventListener('abort', leave);
        resolve(socket);
      };
      if (signal.aborted) return leave();
      signal.addEventListener('abort', leave, { once: true });
      this.#waiting.add(take);
      if (!this.#isConnecting) void this.#connectWaiting();
    });
  }

  /** Never throws. */
  async #connectWaiting(): Promise<void> {
    this.#isConnecting = true;
    while (this.#waiting.size > 0) {
      const socket = await this.connect().catch(() => undefined);
      const [next] = this.#waiting;
      if (!socket) await this.#parts.clock.sleep(TRIED_EACH_MS);
      else if (next) {
        this.#waiting.delete(next);
        next(socket);
      } else socket.destroy();
    }
    this.#isConnecting = false;
  }

  /**
   * What it answers to a ping or to the question what it is: its own answer, or else the last good one, or else that of
   * another user's Podman on this host, within a second. At a boot nobody's has answered yet: the first that does counts.
   * @throws RootlessError where no Podman has ever answered
   */
  async ask(question: Question, target: string): Promise<GoodAnswer> {
    const { answers } = this.#parts;
    const until = this.#parts.clock.monotonic() + ANSWERED_WITHIN_MS;
    const next = answers.next(question);
    try {
      return await this.#within(ANSWERED_WITHIN_MS, this.#ask(question, target));
    } catch (error) {
      const last = answers.find(this.name, question);
      if (last) return last;
      const left = until - this.#parts.clock.monotonic();
      return await this.#within(Math.max(left, 0), next).catch(() => {
        throw error;
      });
    }
  }

  /** Asks it what it is, to know before it is needed. Its health says what came of it. */
  async greet(): Promise<void> {
    const base = '/v1.0.0/libpod';
    await Promise.allSettled([this.#ask('ping', `${base}/_ping`), this.#ask('info', `${base}/info`)]);
  }

  /** @throws RootlessError where it does not answer a ping within a second */
  async ping(): Promise<void> {
    await this.#within(ANSWERED_WITHIN_MS, this.#ask('ping', '/v1.0.0/libpod/_ping'));
  }

  /** It has answered something. */
  answered(version = this.#health.version): void {
    this.#isGivenUp = false;
    this.#down = undefined;
    this.#downSince = undefined;
    if (this.#health.state === 'up' && this.#health.version === version) return;
    const { log, metrics, clock } = this.#parts;
    const isBack = this.#health.state !== 'up';
    this.#health = { state: 'up', since: isBack ? clock.now() : this.#health.since, version };
    metrics.userPodmanUp.set({ user: this.name }, 1);
    if (isBack) log.info({ user: this.name, version }, 'the Podman of a user answers');
  }

  /** So long it took to begin to answer something that is answered at once, in milliseconds. */
  took(ms: number): void {
    this.#parts.metrics.gateAnswerSeconds.observe({ labels: { user: this.name }, value: ms / 1000 });
  }

  /** It cannot be reached, or does not answer. */
  failed(error: unknown): void {
    const problem = messageOf(error);
    this.#downSince ??= this.#parts.clock.monotonic();
    this.#down = error instanceof RootlessError ? error : new NotYetError('podman_silent', problem, error);
    if (this.#health.state === 'down') {
      this.#health = { ...this.#health, problem };
      return;
    }
    const { log, metrics, clock } = this.#parts;
    this.#health = { state: 'down', since: clock.now(), version: this.#health.version, problem };
    metrics.userPodmanUp.set({ user: this.name }, 0);
    log.warn({ user: this.name, code: this.#down.code, reason: problem }, 'the Podman of a user does not answer');
  }

  /** The user has left the configuration. */
  retire(): void {
    const { userPodmanUp, gateHoldSeconds, gateAnswerSeconds } = this.#parts.metrics;
    for (const metric of [userPodmanUp, gateHoldSeconds, gateAnswerSeconds]) metric.remove({ user: this.name });
  }

  /** Why it is down; undefined where it is not. */
  get whyDown(): RootlessError | undefined {
    return this.#down;
  }

  #ask(question: Question, target: string): Promise<GoodAnswer> {
    const asking = this.#asking.get(question) ?? this.#call(question, target);
    this.#asking.set(question, asking);
    const end = () => void this.#asking.delete(question);
    asking.then(end, end);
    return asking;
  }

  async #call(question: Question, target: string): Promise<GoodAnswer> {
    const { answers, clock } = this.#parts;
    try {
      const call = { method: 'GET', target, timeoutMs: PATIENCE_MS, maxBytes: MAX_ANSWER_BYTES } as const;
      const good = this.#readAnswer(question, await callPodman(this.user, call, clock));
      answers.remember(this.name, question, good);
      this.answered(good.headers[VERSION_HEADER]);
      return good;
    } catch (error) {
      this.failed(error);
      throw error;
    }
  }

  /** @throws NotYetError `podman_silent` where it takes longer */
  async #within(ms: number, answer: Promise<GoodAnswer>): Promise<GoodAnswer> {
    const inTime = await within(this.#parts.clock, ms, answer);
    if (inTime) return inTime;
    const message = `the Podman of user ${this.name} has not answered within ${ms / 1000} s`;
    throw new NotYetError('podman_silent', message);
  }

  #readAnswer(question: Question, { status, headers, body }: Awaited<ReturnType<typeof callPodman>>): GoodAnswer {
    const where = `${question} at the Podman of user ${this.name}`;
    if (status !== 200) throw new ParseError(where, 'status 200', `status ${status}`);
    if (question === 'ping' && !/^[0-9A-Za-z.+~-]{1,64}$/.test(String(headers[VERSION_HEADER] ?? ''))) {
      throw new ParseError(where, `a version in ${VERSION_HEADER}`, 'none');
    }
    const kept = KEPT_HEADERS.flatMap((name) => {
      const value = headers[name];
      return typeof value === 'string' && /^[\x20-\x7e]{1,200}$/.test(value) ? [[name, value] as const] : [];
    });
    const text = body.toString('utf8');
    return { headers: Object.fromEntries(kept), body: question === 'info' ? infoOf(text, where) : text };
  }
}
