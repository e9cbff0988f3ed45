import type { Socket } from 'node:net';
import { codeOf, messageOf, NotYetError, ParseError, RefusedError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { GateVerdict, Metrics } from '../metrics.ts';
import { connectToPodman, type PodmanUser } from '../podman/connect.ts';
import { type Answer, format } from './answer.ts';
import { BodyEnd } from './body-end.ts';
import { type CreateTarget, type NomadDirectories, targetOf } from './create-body.ts';
import { Exchange, type Request } from './exchange.ts';
import { type HoldParts, hold } from './hold.ts';
import { HeadCollector, parseRequestHead, type RequestHead } from './http-head.ts';
import { refuseUnjoinable } from './join-netns.ts';
import type { Readiness } from './readiness.ts';
import { type Route, routeOf } from './route.ts';
import { ConnectionLost, SocketReader, send } from './socket-reader.ts';
import { parseCreateBody } from './spec-generator.ts';

/** The longest create body, in bytes. */
const MAX_CREATE_BYTES = 4 * 1024 * 1024;
/** How long a client that we turn away has to read why, in milliseconds. */
const LINGER_MS = 1000;

/** What every connection of a gate needs. */
export interface ConnectionParts extends HoldParts {
  readonly user: PodmanUser;
  /** Nomad's directories; resolves once Nomad has named them. */
  readonly directories: (signal: AbortSignal) => Promise<NomadDirectories>;
  readonly readiness: Readiness;
  readonly log: Log;
  readonly metrics: Pick<Metrics, 'gateRequests' | 'gateHeld' | 'gateHoldSeconds'>;
}

/**
 * One client's connection, served request by request: the next request is not looked at before the response to the
 * last one has passed. So a pipelined request waits, an answer of ours never lands inside one of Podman's, and bytes
 * behind a request that may hijack are withheld until it is known whether it did.
 */
export class Connection {
  readonly #client: SocketReader;
  readonly #parts: ConnectionParts;
  #podman: SocketReader | undefined;
  #isServing = false;
  #isFinishing = false;

  constructor(socket: Socket, parts: ConnectionParts) {
    this.#client = new SocketReader(socket);
    this.#parts = parts;
  }

  /** Podman ends idle connections; the client keeps its own, and the next request makes a new one. */
  readonly #dropIdlePodman = () => {
    if (!this.#isServing && this.#podman?.hasLeft) this.#podman.socket.destroy();
  };

  /** Serves until either side ends it. Never throws. */
  async serve(): Promise<void> {
    try {
      while (!this.#isFinishing && (await this.#serveRequest())) {
        this.#isServing = false;
        this.#podman?.whenLeft(this.#dropIdlePodman);
      }
      this.#podman?.socket.destroySoon();
    } catch (error) {
      const fields = { code: codeOf(error), reason: messageOf(error) };
      if (error instanceof ConnectionLost) this.#parts.log.debug(fields, 'a connection was lost');
      else this.#parts.log.error(fields, 'a connection failed');
      this.#podman?.socket.destroy();
    }
    this.#client.socket.destroySoon();
  }

  /** Turns the client away before anything is read. */
  async turnAway(answer: Answer, verdict: GateVerdict): Promise<void> {
    await this.#answer(answer, verdict);
    this.#client.socket.destroySoon();
  }

  /** Ends the connection once the request in flight, if there is one, has had its response. */
  finish(): void {
    this.#isFinishing = true;
    if (!this.#isServing) this.cut();
  }

  /** Ends the connection now. */
  cut(): void {
    this.#client.socket.destroy();
    this.#podman?.socket.destroy();
  }

  /** Serves one request; whether the connection can carry another one. */
  async #serveRequest(): Promise<boolean> {
    try {
      const bytes = await this.#readHead();
      if (!bytes) return false;
      const head = parseRequestHead(bytes);
      return await this.#serveRoute(routeOf(head.method, head.target), { head, bytes, body: undefined });
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      return this.#answer({ status: 400, cause: error.code, message: error.message, close: true }, 'bad_request');
    }
  }

  async #readHead(): Promise<Buffer | undefined> {
    const collector = new HeadCollector();
    for (;;) {
      const chunk = await this.#client.next();
      if (!chunk) return undefined;
      this.#isServing = true;
      const found = collector.push(chunk);
      if (!found) continue;
      this.#client.putBack(found.rest);
      return found.head;
    }
  }

  #serveRoute(route: Route, request: Request): Promise<boolean> {
    switch (route.kind) {
      case 'create':
        return this.#create(request);
      case 'refused':
        return this.#answer({ status: 403, cause: 'not_through_gate', message: route.reason, close: true }, 'refused');
      case 'inspect':
        this.#parts.readiness.prepare(route.allocationId);
        return this.#forward(request, 'passed', false);
      default:
        return this.#forward(request, 'passed', route.kind === 'hijack');
    }
  }

  /** Holds a create until its allocation is ready. Not a byte of it reaches Podman before. */
  async #create(request: Request): Promise<boolean> {
    const { user, timeoutMs, directories, readiness } = this.#parts;
    const body = await this.#readBody(request.head);
    if (!body) return this.#abandoned();
    const spec = parseCreateBody(Buffer.concat(body));
    let target: CreateTarget | undefined;
    const untilReady = async (signal: AbortSignal) => {
      target = targetOf(spec, await directories(signal));
      // Before anything is done for it: Nomad tears a network down as soon as its task is refused.
      if (target.joinsNetns) await refuseUnjoinable(spec, target, user);
      await readiness.ready({ ...target, uid: user.uid }, signal);
    };
    const end = await hold(untilReady, this.#client, this.#parts);
    if (end.kind === 'ready') return this.#forward({ ...request, body }, 'created', false);
    if (end.kind === 'abandoned') return this.#abandoned();
    if (end.kind === 'failed') return this.#refuse(end.error, target);
    const whose = target ? `allocation ${target.allocationId}` : 'the allocation';
    const remedy = `on this node, nomad-rootless status${target ? ` ${target.allocationId}` : ''} says what is missing`;
    const because = end.reason === undefined ? '' : ` (${end.reason})`;
    const message = `${whose} was not ready for user ${user.name} within ${timeoutMs / 1000} s${because}; ${remedy}`;
    return this.#answer({ status: 504, cause: 'not_ready', message, close: false }, 'timeout', target);
  }

  async #readBody({ framing, expect }: RequestHead): Promise<Buffer[] | undefined> {
    if (framing.kind !== 'length' || framing.length > MAX_CREATE_BYTES || expect) {
      const expected = `a Content-Length of at most ${MAX_CREATE_BYTES} and no Expect header`;
      const length = framing.kind === 'length' ? `Content-Length: ${framing.length}` : 'a chunked body';
      throw new ParseError('container create', expected, expect ? `${length} and Expect` : length);
    }
    const end = new BodyEnd(framing);
    const body: Buffer[] = [];
    while (!end.done) {
      const chunk = await this.#client.next();
      if (!chunk) return undefined;
      const to = end.take(chunk, 0);
      body.push(chunk.subarray(0, to));
      this.#client.putBack(chunk.subarray(to));
    }
    return body;
  }

  /** Passes a request to Podman and the response back. */
  async #forward(request: Request, verdict: GateVerdict, mayHijack: boolean): Promise<boolean> {
    let exchange: Exchange | undefined;
    try {
      exchange = new Exchange(this.#client, await this.#connect(), request, mayHijack);
      return await exchange.run(() => this.#count(verdict));
    } catch (error) {
      if (exchange?.hasAnswer) throw error instanceof ParseError ? new ConnectionLost(error) : error;
      if (error instanceof ParseError) throw error;
      if (this.#client.hasLeft) return this.#abandoned();
      const reason = error instanceof ConnectionLost ? this.#hungUp() : error;
      const answer = { status: 502, cause: codeOf(reason), message: messageOf(reason), close: true };
      return this.#answer(answer, 'upstream_error');
    }
  }

  /** The connection to the user's Podman: the last one where it still stands, for Podman ends idle ones. */
  async #connect(): Promise<SocketReader> {
    if (this.#podman?.isQuiet) return this.#podman;
    this.#podman?.socket.destroy();
    const podman = new SocketReader(await connectToPodman(this.#parts.user));
    this.#podman = podman;
    if (this.#client.isLost) throw new ConnectionLost();
    return podman;
  }

  #hungUp(): NotYetError {
    const { name, uid } = this.#parts.user;
    const remedy = `on this node, journalctl _UID=${uid} may say why; try again`;
    return new NotYetError(
      'podman_hung_up',
      `the Podman of user ${name} closed the connection without an answer; ${remedy}`,
    );
  }

  #abandoned(): boolean {
    this.#count('abandoned');
    return false;
  }

  #refuse(error: unknown, about: CreateTarget | undefined): Promise<boolean> {
    const status = error instanceof RefusedError ? 403 : 503;
    return this.#answer({ status, cause: codeOf(error), message: messageOf(error), close: false }, 'refused', about);
  }

  /** Answers in Podman's place; whether the connection can carry another request. */
  async #answer(answer: Answer, verdict: GateVerdict, about?: CreateTarget): Promise<boolean> {
    const { log, clock } = this.#parts;
    this.#count(verdict);
    const { status, cause, message } = answer;
    log.info({ ...about, verdict, status, code: cause, reason: message }, 'the gate turned a request away');
    if (!answer.close) {
      await send(this.#client.socket, format(answer));
      return true;
    }
    this.#client.discard();
    this.#client.socket.end(format(answer));
    // Closing while the client still writes could make it miss the answer.
    await new Promise<void>((resolve) => {
      const stop = clock.after(LINGER_MS, resolve);
      this.#client.whenLeft(() => {
        stop();
        resolve();
      });
    });
    return false;
  }

  #count(verdict: GateVerdict): void {
    this.#parts.metrics.gateRequests.inc({ verdict });
  }
}
