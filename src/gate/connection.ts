import type { Socket } from 'node:net';
import type { Clock } from '../clock.ts';
import { codeOf, messageOf, NotYetError, ParseError, RefusedError, type RootlessError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { GateVerdict, Metrics } from '../metrics.ts';
import type { Question } from '../podman/last-answers.ts';
import type { UserPodman } from '../podman/user-podman.ts';
import { type Answer, format, type Refusal, refusal } from './answer.ts';
import { type CreateTarget, type NomadDirectories, targetOf } from './create-body.ts';
import { type HoldEnd, hold } from './hold.ts';
import { type Images, pulledId } from './images.ts';
import { refuseUnjoinable } from './join-netns.ts';
import type { Readiness } from './readiness.ts';
import { type RelayOptions, relay } from './relay.ts';
import { type Request, readRequest } from './request.ts';
import { type Route, routeOf } from './route.ts';
import { type CreateBody, parseCreateBody } from './spec-generator.ts';
import { targetOfContainer } from './start.ts';

/** How long a client that has more to send than we read has to read our answer, in milliseconds. */
const LINGER_MS = 1000;
/** Between a create and its start there is nothing but the look at two FIFOs. */
const MOST_CREATED = 1000;
/** As much of an answer as is looked at for an id, in bytes from its end. */
const MOST_WATCHED = 64 * 1024;

/** What every connection of a gate needs. */
export interface ConnectionParts {
  readonly podman: UserPodman;
  /** Nomad's directories; resolves once Nomad has named them. */
  readonly directories: (signal: AbortSignal) => Promise<NomadDirectories>;
  readonly readiness: Readiness;
  readonly images: Images;
  /** The containers whose create has passed and whose start is to come, of this gate. */
  readonly created: Set<string>;
  /** How long a request waits for its allocation, or for a Podman that cannot be reached, in milliseconds. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Pick<Metrics, 'gateRequests' | 'gateHeld' | 'gateHoldSeconds'>;
}

/** What is done with a request that Podman is to answer. */
interface Forwarding {
  readonly verdict?: GateVerdict;
  /** How long to wait for a Podman that cannot be reached; 0 tries once. */
  readonly holdMs?: number;
  /** How long a Podman that has taken the request may be silent. */
  readonly answerWithinMs?: number;
  /** Whether the client's bytes behind the request pass, too. */
  readonly isRaw?: boolean;
  /** Called with the answer's bytes so far, of which the last 64 KiB are kept. */
  readonly onAnswer?: (bytes: string) => void;
  /** What is answered where Podman cannot be reached. */
  readonly inPlace?: (error: RootlessError) => Answer;
}

/**
 * One client's connection, which serves one request: its head is read strictly, Podman and client are asked to close
 * after the answer, and bytes are passed as they are. So nothing has to know where an answer ends, no request gets past
 * the gate behind another one, and no client sends into a connection that is being closed.
 */
export class Connection {
  readonly #client: Socket;
  readonly #parts: ConnectionParts;
  #stage: 'idle' | 'serving' | 'long' = 'idle';

  constructor(client: Socket, parts: ConnectionParts) {
    this.#client = client;
    this.#parts = parts;
    client.on('error', (error) => parts.log.debug({ reason: error.message }, 'a connection was lost'));
  }

  /**
   * `idle` until a byte of a request has come; `long` while it may last as long as a container runs, which nobody has to
   * wait for.
   */
  get stage(): 'idle' | 'serving' | 'long' {
    return this.#stage;
  }

  /** Serves until it is over. Never throws. */
  async serve(): Promise<void> {
    try {
      const request = await readRequest(this.#client, () => {
        this.#stage = 'serving';
      });
      if (request) await this.#serveRoute(routeOf(request.head.method, request.head.target), request);
    } catch (error) {
      if (error instanceof ParseError) {
        await this.#refuse({ status: 400, cause: error.code, message: error.message }, 'bad_request');
      } else {
        this.#parts.log.error({ code: codeOf(error), reason: messageOf(error) }, 'a connection failed');
      }
    }
    this.#client.destroySoon();
  }

  /** Turns the client away before anything is read. */
  async turnAway(why: Refusal, verdict: GateVerdict): Promise<void> {
    await this.#refuse(why, verdict);
    this.#client.destroySoon();
  }

  /** Ends the connection now. */
  cut(): void {
    this.#client.destroy();
  }

  #serveRoute(route: Route, request: Request): Promise<void> {
    const { readiness, timeoutMs, images, podman } = this.#parts;
    switch (route.kind) {
      case 'create':
        return this.#create(request);
      case 'start':
        return this.#start(route.container, request);
      case 'refused':
        return this.#refuse({ status: 403, cause: 'not_through_gate', message: route.reason }, 'refused');
      case 'ping':
      case 'info':
        return this.#answerFor(route.kind, request.head.target);
      case 'inspect':
        readiness.prepare(route.allocationId);
        return this.#forward(request, { holdMs: timeoutMs, answerWithinMs: timeoutMs, inPlace: noSuchContainer });
      case 'image': {
        const asked = { user: podman.name, reference: route.reference, query: queryOf(route.reference) };
        const inPlace = () => placeholder(`{"Id":"${images.placeholder(asked)}","Os":"","Architecture":""}`);
        const holdMs = this.#startHoldMs;
        return this.#forward(request, { holdMs, answerWithinMs: Math.max(holdMs, LINGER_MS), inPlace });
      }
      case 'pull': {
        const asked = { user: podman.name, reference: route.reference, query: route.query };
        const onAnswer = (bytes: string) => {
          const id = pulledId(bytes);
          if (id !== undefined) images.pulled(id, asked);
        };
        const inPlace = () => placeholder(`{"id":"${images.placeholder(asked)}"}`);
        return this.#forward(request, { holdMs: this.#startHoldMs, onAnswer, inPlace });
      }
      default: {
        if (route.isLong) this.#stage = 'long';
        const holdMs = route.kind === 'container' ? timeoutMs : 0;
        return this.#forward(request, { holdMs, isRaw: route.isHijack || request.head.upgrade });
      }
    }
  }

  /** What a request of a start waits for Podman: where the first one has waited in vain, the others need not. */
  get #startHoldMs(): number {
    return this.#parts.podman.isGivenUp ? 0 : this.#parts.timeoutMs;
  }

  /** Answers for the user's Podman, within a second. */
  async #answerFor(question: Question, target: string): Promise<void> {
    try {
      const { headers, body } = await this.#parts.podman.ask(question, target);
      await this.#answer({ status: 200, headers, body }, 'passed');
    } catch (error) {
      await this.#refuse({ status: 502, cause: codeOf(error), message: messageOf(error) }, 'upstream_error');
    }
  }

  /** Holds a create until its allocation is ready. Not a byte of it reaches Podman before. */
  async #create(request: Request): Promise<void> {
    const { podman, images, created, directories } = this.#parts;
    if (!request.body) throw new ParseError('container create', 'a Content-Length of at most 4 MiB', 'another body');
    const spec = parseCreateBody(request.body);
    let target: CreateTarget | undefined;
    let image: string | undefined;
    const end = await this.#holdUntilReady(async (signal) => {
      target = targetOf(spec, await directories(signal));
      await this.#ready(spec, target, signal);
      if (spec.image) image = await images.resolve(spec.image, podman, signal);
    });
    if (end.kind !== 'done') return this.#refuseHeld(end, target);
    const body = image === undefined ? request.body : withImage(request.body, spec.image ?? '', image);
    const onAnswer = (bytes: string) => {
      const [, id] = /"Id":"([0-9a-f]{64})"/.exec(bytes) ?? [];
      if (id !== undefined) noteCreated(created, id);
    };
    return this.#forward({ ...request, body }, { verdict: 'created', holdMs: this.#startHoldMs, onAnswer });
  }

  /** Resolves once the allocation that a create names is ready for it. */
  async #ready(spec: CreateBody, target: CreateTarget, signal: AbortSignal): Promise<void> {
    const { podman, readiness } = this.#parts;
    if (podman.isGivenUp) await podman.ping();
    const user = await podman.userWhenKnown(signal);
    // Before anything is done for it: Nomad tears a network down as soon as its task is refused.
    if (target.joinsNetns) await refuseUnjoinable(spec, target, user);
    await readiness.ready({ ...target, uid: user.uid }, signal);
  }

  /** Holds the start of a container from before until its allocation is ready, as its create was. */
  async #start(container: string, request: Request): Promise<void> {
    const { podman, directories, readiness, created, clock } = this.#parts;
    if (created.delete(container)) return this.#forward(request, { holdMs: this.#startHoldMs });
    let target: CreateTarget | undefined;
    const end = await this.#holdUntilReady(async (signal) => {
      (await podman.connectWhenReachable(signal)).destroy();
      target = await targetOfContainer(container, podman.user, await directories(signal), clock);
      if (target) await readiness.ready({ ...target, uid: podman.user.uid }, signal);
    });
    if (end.kind !== 'done') return this.#refuseHeld(end, target);
    return this.#forward(request, { holdMs: this.#startHoldMs });
  }

  async #holdUntilReady(work: (signal: AbortSignal) => Promise<void>): Promise<HoldEnd<void>> {
    const { metrics, clock } = this.#parts;
    const from = clock.monotonic();
    metrics.gateHeld.inc();
    this.#client.resume();
    const end = await hold(work, this.#client, this.#parts);
    metrics.gateHeld.dec();
    if (end.kind === 'done') metrics.gateHoldSeconds.observe((clock.monotonic() - from) / 1000);
    return end;
  }

  async #refuseHeld(end: Exclude<HoldEnd<void>, { kind: 'done' }>, target: CreateTarget | undefined): Promise<void> {
    if (end.kind === 'abandoned') return this.#count('abandoned');
    if (end.kind === 'failed') {
      const status = end.error instanceof RefusedError ? 403 : 503;
      return this.#refuse({ status, cause: codeOf(end.error), message: messageOf(end.error) }, 'refused', target);
    }
    const { podman, timeoutMs } = this.#parts;
    const whose = target ? `allocation ${target.allocationId}` : 'the allocation';
    const remedy = `on this node, nomad-rootless status${target ? ` ${target.allocationId}` : ''} says what is missing`;
    const reason = end.reason?.message ?? podman.whyDown?.message;
    const because = reason === undefined ? '' : ` (${reason})`;
    const message = `${whose} was not ready for user ${podman.name} within ${timeoutMs / 1000} s${because}; ${remedy}`;
    return this.#refuse({ status: 504, cause: 'not_ready', message }, 'timeout', target);
  }

  /**
   * Passes a request to Podman and its answer back. Podman's service ends after some seconds of quiet: a connection that
   * it has taken but not answered is made once more, as Go's client would do, unless the request could have had effects.
   */
  async #forward(request: Request, options: Forwarding): Promise<void> {
    const { verdict = 'passed', holdMs = 0, isRaw = false, answerWithinMs, onAnswer, inPlace = unreachable } = options;
    const { podman } = this.#parts;
    const passesRest = isRaw || !request.body;
    if (!passesRest) this.#client.resume();
    for (let attempt = 1; ; attempt++) {
      const end = await this.#reach(holdMs);
      if (end.kind === 'abandoned') return this.#count('abandoned');
      if (end.kind !== 'done') {
        if (holdMs > 0) podman.giveUp();
        return this.#answerInPlace(inPlace, podman.whyDown);
      }
      const how = await this.#relay(request, end.value, { isRaw: passesRest, answerWithinMs, verdict, onAnswer });
      if (how === 'answered') return;
      if (this.#client.destroyed || this.#client.readableEnded) return this.#count('abandoned');
      if (how === 'silent') {
        podman.failed(this.#silent(answerWithinMs));
        podman.giveUp();
        return this.#answerInPlace(inPlace, podman.whyDown);
      }
      if (attempt > 1 || passesRest || !isRepeatable(request)) return this.#answerInPlace(unreachable, this.#hungUp());
    }
  }

  /** Connects to Podman, and waits for it where it cannot be reached. */
  async #reach(holdMs: number): Promise<HoldEnd<Socket>> {
    const { podman, clock, log } = this.#parts;
    try {
      return { kind: 'done', value: await podman.connect() };
    } catch (error) {
      if (holdMs === 0) return { kind: 'failed', error };
      log.debug({ code: codeOf(error) }, 'a request waits for a Podman that cannot be reached');
    }
    return await hold((signal) => podman.connectWhenReachable(signal), this.#client, { timeoutMs: holdMs, clock });
  }

  async #relay(
    request: Request,
    upstream: Socket,
    {
      verdict,
      onAnswer,
      ...how
    }: Pick<RelayOptions, 'isRaw' | 'answerWithinMs'> & {
      verdict: GateVerdict;
      onAnswer: Forwarding['onAnswer'];
    },
  ): ReturnType<typeof relay> {
    let seen = '';
    let isCounted = false;
    upstream.on('error', (error) =>
      this.#parts.log.debug({ reason: error.message }, 'a connection to Podman was lost'),
    );
    return await relay(this.#client, upstream, request, {
      ...how,
      clock: this.#parts.clock,
      onAnswer: (chunk) => {
        if (!isCounted) {
          isCounted = true;
          this.#count(verdict);
          this.#parts.podman.answered();
        }
        if (!onAnswer) return;
        seen = (seen + chunk.toString('latin1')).slice(-MOST_WATCHED);
        onAnswer(seen);
      },
    });
  }

  #silent(withinMs = 0): NotYetError {
    const { name } = this.#parts.podman;
    const message = `the Podman of user ${name} takes connections and does not answer within ${withinMs / 1000} s; ask the operator to run, as ${name}: systemctl --user restart podman.service`;
    return new NotYetError('podman_silent', message);
  }

  #hungUp(): NotYetError {
    const { name } = this.#parts.podman;
    const remedy = `on this node, journalctl _UID=$(id -u ${name}) may say why; try again`;
    return new NotYetError(
      'podman_hung_up',
      `the Podman of user ${name} closed the connection without an answer; ${remedy}`,
    );
  }

  async #answerInPlace(inPlace: (error: RootlessError) => Answer, error: RootlessError | undefined): Promise<void> {
    const why = error ?? this.#hungUp();
    this.#parts.log.debug({ code: why.code, reason: why.message }, 'a request did not reach Podman');
    await this.#answer(inPlace(why), 'upstream_error');
  }

  async #refuse(why: Refusal, verdict: GateVerdict, about?: CreateTarget): Promise<void> {
    const { status, cause, message } = why;
    this.#parts.log.info({ ...about, verdict, status, code: cause, reason: message }, 'the gate turned a request away');
    await this.#answer(refusal(why), verdict);
  }

  /** Answers in Podman's place. */
  async #answer(answer: Answer, verdict: GateVerdict): Promise<void> {
    this.#count(verdict);
    const client = this.#client;
    if (client.destroyed) return;
    client.resume();
    client.end(format(answer));
    // Closing while the client still writes could make it miss the answer.
    await new Promise<void>((resolve) => {
      const stop = this.#parts.clock.after(LINGER_MS, resolve);
      client.once('close', () => {
        stop();
        resolve();
      });
    });
  }

  #count(verdict: GateVerdict): void {
    this.#parts.metrics.gateRequests.inc({ verdict });
  }
}

/** Whether doing it twice does no more than doing it once: a start that has happened is answered so, a create by its name. */
function isRepeatable({ head: { method, target } }: Request): boolean {
  if (method === 'GET' || method === 'HEAD') return true;
  const { kind } = routeOf(method, target);
  return kind === 'create' || kind === 'start' || kind === 'pull';
}

/** Of a create whose start never comes nothing stays for long. */
function noteCreated(created: Set<string>, id: string): void {
  created.add(id);
  for (const oldest of created) {
    if (created.size <= MOST_CREATED) return;
    created.delete(oldest);
  }
}

function unreachable(error: RootlessError): Answer {
  return refusal({ status: error instanceof NotYetError ? 503 : 502, cause: error.code, message: error.message });
}

/** True enough for a start, whose create is then refused with the reason: of any other answer the driver shows the status alone. */
function noSuchContainer(error: RootlessError): Answer {
  return refusal({ status: 404, cause: 'no such container', message: error.message });
}

function placeholder(body: string): Answer {
  return { status: 200, body };
}

function queryOf(reference: string): string {
  return new URLSearchParams({ reference }).toString();
}

/** Ids are of one length, and the driver writes them as they are: the rest of the body stays as it came. */
function withImage(body: Buffer, from: string, to: string): Buffer {
  const at = body.indexOf(`"${from}"`);
  if (at === -1 || from.length !== to.length)
    throw new ParseError('container create, image', 'an id', 'another spelling');
  const changed = Buffer.from(body);
  changed.write(to, at + 1);
  return changed;
}
