import type { Socket } from 'node:net';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { GateVerdict, Metrics } from '../metrics.ts';
import type { GateRefusal } from '../model/status.ts';
import { type Answer, format, type Refusal, refusal } from './answer.ts';
import type { CreateTarget } from './create-target.ts';

/** How long a client that has more to send than we read has to read our answer, in milliseconds. */
const LINGER_MS = 1000;

/** What answering a client needs. */
export interface ClientParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Pick<Metrics, 'gateRequests'>;
  /** Told of each request that is turned away. */
  readonly onRefusal: (refusal: Omit<GateRefusal, 'at' | 'user'>) => void;
}

/** What the log says of whose request it is: `allocation`, as everywhere. */
export function fieldsOf(target: CreateTarget | undefined): { readonly allocation?: string; readonly task?: string } {
  return target ? { allocation: target.allocationId, task: target.task } : {};
}

/** The client at a gate, as one that gets an answer of the gate's own, and of whom it is counted what became of it. */
export class Client {
  readonly socket: Socket;
  readonly #parts: ClientParts;

  constructor(socket: Socket, parts: ClientParts) {
    this.socket = socket;
    this.#parts = parts;
  }

  /** Whether it has said that nothing more comes of it, or is gone. */
  get hasLeft(): boolean {
    return this.socket.destroyed || this.socket.readableEnded;
  }

  async refuse(why: Refusal, verdict: GateVerdict, about?: CreateTarget): Promise<void> {
    const { status, cause, message } = why;
    const { allocationId, task } = about ?? {};
    const fields = { ...fieldsOf(about), verdict, status, code: cause, reason: message };
    if (verdict === 'upstream_error') {
      // A Podman that does not answer has a place of its own in the status and the log; the driver asks it again each second.
      this.#parts.log.debug(fields, 'Podman did not answer a request');
    } else {
      this.#parts.onRefusal({ allocationId, task, code: cause, reason: message });
      this.#parts.log.info(fields, 'the gate refused a request');
    }
    await this.answer(refusal(why), verdict);
  }

  /** Answers in Podman's place; the connection ends with it. */
  async answer(answer: Answer, verdict: GateVerdict): Promise<void> {
    this.count(verdict);
    const { socket } = this;
    if (socket.destroyed) return;
    socket.resume();
    socket.end(format(answer));
    // Closing while the client still writes could make it miss the answer.
    await new Promise<void>((resolve) => {
      const stop = this.#parts.clock.after(LINGER_MS, resolve);
      socket.once('close', () => {
        stop();
        resolve();
      });
    });
  }

  count(verdict: GateVerdict): void {
    this.#parts.metrics.gateRequests.inc({ verdict });
  }
}
