import type { Socket } from 'node:net';
import { codeOf, messageOf, ParseError, type RootlessError } from '../errors.ts';
import { hasHungUp } from '../linux/peer-credentials.ts';
import type { GateVerdict } from '../metrics.ts';
import type { Question } from '../podman/last-answers.ts';
import { type Answer, type Refusal, refusal } from './answer.ts';
import { Client } from './client.ts';
import { MAX_DOCUMENT_BYTES, MAX_LONG_DOCUMENT_BYTES } from './document.ts';
import { type Forwarding, forward } from './forward.ts';
import { create, type HeldParts, start, whenQuiet } from './held-requests.ts';
import { refuseArchive, requestImage } from './image-request.ts';
import { type Request, readRequest } from './request.ts';
import { type Route, routeOf } from './route.ts';

/** What every connection of a gate needs. */
export type ConnectionParts = HeldParts;

/**
 * One client's connection, which serves one request: its head is read strictly, Podman and client are asked to close
 * after the answer, and bytes are passed as they are. So nothing has to know where an answer ends, no request gets past
 * the gate behind another one, and no client sends into a connection that is being closed.
 */
export class Connection {
  readonly #client: Client;
  readonly #parts: ConnectionParts;
  #stage: 'idle' | 'serving' | 'long' = 'idle';

  constructor(socket: Socket, parts: ConnectionParts) {
    this.#client = new Client(socket, parts);
    this.#parts = parts;
    socket.on('error', (error) => parts.log.debug({ reason: error.message }, 'a connection was lost'));
    // A Podman that neither answers nor closes would keep the connection for ever, and each one that the driver gives up.
    socket.once('end', () => hasHungUp(socket) && socket.destroy());
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
    const { socket } = this.#client;
    try {
      const request = await readRequest(socket, () => {
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
    socket.destroySoon();
  }

  /** Turns the client away before anything is read. */
  async turnAway(why: Refusal, verdict: GateVerdict): Promise<void> {
    await this.#client.refuse(why, verdict);
    this.#client.socket.destroySoon();
  }

  /** Ends the connection now. */
  cut(): void {
    this.#client.socket.destroy();
  }

  #serveRoute(route: Route, request: Request): Promise<void> {
    const { timeoutMs } = this.#parts;
    switch (route.kind) {
      case 'create':
        return create(this.#client, request, this.#parts);
      case 'start':
        return start(this.#client, route.container, request, this.#parts);
      case 'refused':
        return this.#refuse({ status: 403, cause: 'not_through_gate', message: route.reason }, 'refused');
      case 'ping':
      case 'info':
        return this.#answerFor(route.kind, request.head.target);
      case 'inspect':
        this.#beginStart(route);
        return this.#forward(request, {
          holdMs: timeoutMs,
          answerWithinMs: timeoutMs,
          isInspect: true,
          inPlace: noSuchContainer,
        });
      case 'image':
      case 'pull':
        return requestImage(this.#client, route, request, this.#parts);
      case 'load':
        return refuseArchive(this.#client, route.reason, this.#parts);
      default: {
        if (route.isLong) this.#stage = 'long';
        // Nomad's client takes its tasks up one after the other, and answers nobody meanwhile: all of them wait as long as one.
        const holdMs = route.kind === 'container' ? this.#parts.podman.patienceMs(timeoutMs) : 0;
        if (route.kind === 'container' && route.isInspect) {
          return this.#forward(request, { holdMs, answerWithinMs: timeoutMs, isInspect: true });
        }
        if (route.kind === 'container' && route.isLogs) return this.#forward(request, { holdMs, isLogs: true });
        const isRaw = route.isHijack || request.head.upgrade;
        const most = route.kind === 'container' ? MAX_DOCUMENT_BYTES : MAX_LONG_DOCUMENT_BYTES;
        const maxBytes = isRaw || route.isStream ? Number.POSITIVE_INFINITY : most;
        return this.#forward(request, { holdMs, isRaw, isLong: route.isLong, maxBytes });
      }
    }
  }

  /** Answers for the user's Podman, within a second. */
  async #answerFor(question: Question, target: string): Promise<void> {
    try {
      const { headers, body } = await this.#parts.podman.ask(question, target);
      await this.#client.answer({ status: 200, headers, body }, 'passed');
    } catch (error) {
      await this.#client.refuse({ status: 502, cause: codeOf(error), message: messageOf(error) }, 'upstream_error');
    }
  }

  /** What the driver asks for next is known to be for a task that may run, or for none such. */
  #beginStart({ allocationId, task }: Route & { kind: 'inspect' }): void {
    const { readiness, starts, podman } = this.#parts;
    readiness.prepare(allocationId);
    starts.begin(`${task}-${allocationId}`, allocationId, async (over) => {
      const { uid } = await podman.userWhenKnown(over);
      await readiness.permitted({ allocationId, task, uid }, over);
    });
  }

  async #refuse(why: Refusal, verdict: GateVerdict): Promise<void> {
    await whenQuiet(this.#parts);
    await this.#client.refuse(why, verdict);
  }

  #forward(request: Request, options: Forwarding): Promise<void> {
    return forward(this.#client, request, options, this.#parts);
  }
}

/** True enough for a start, whose create is then refused with the reason: of any other answer the driver shows the status alone. */
function noSuchContainer(error: RootlessError): Answer {
  return refusal({ status: 404, cause: 'no such container', message: error.message });
}
