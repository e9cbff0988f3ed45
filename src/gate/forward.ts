import type { Socket } from 'node:net';
import { codeOf, NotYetError, RootlessError } from '../errors.ts';
import type { GateVerdict } from '../metrics.ts';
import type { UserPodman } from '../podman/user-podman.ts';
import type { WarnedOnce } from '../warned-once.ts';
import { type Answer, refusal } from './answer.ts';
import type { Client, ClientParts } from './client.ts';
import { type HeldBytes, MAX_DOCUMENT_BYTES } from './document.ts';
import { type HoldEnd, hold } from './hold.ts';
import { passInspect } from './pass-inspect.ts';
import { passLogs } from './pass-logs.ts';
import { type RelayEnd, type RelayOptions, relay } from './relay.ts';
import type { Request } from './request.ts';
import { routeOf } from './route.ts';

/** As much of an answer as is looked at for an id, in bytes from its end. */
const MOST_WATCHED = 64 * 1024;
/** Of a container or an image, as Podman writes it. */
const ID = /"Id":"([0-9a-f]{64})"/;

/** What passing a request on needs. */
export interface ForwardParts extends ClientParts {
  readonly podman: UserPodman;
  /** What is held of the answers of this Podman. */
  readonly held: HeldBytes;
  /** Of what this Podman has answered. */
  readonly warned: WarnedOnce;
}

/** How a request is passed to Podman. */
export interface Forwarding {
  readonly verdict?: GateVerdict;
  /** How long to wait for a Podman that cannot be reached, in milliseconds; 0 tries once. */
  readonly holdMs?: number;
  /** How long a Podman that has taken the request may be silent, in milliseconds. */
  readonly answerWithinMs?: number;
  /** Whether the client's bytes behind the request pass, too. */
  readonly isRaw?: boolean;
  /** The longest answer, in bytes; infinite for what streams. An answer that ends by itself is passed on when it is whole. */
  readonly maxBytes?: number;
  /** Called with the id that the answer names (`"Id":"…"`), of a container or an image; perhaps more than once. */
  readonly onId?: (id: string) => void;
  /** Whether the answer may be as long in coming as a container runs. */
  readonly isLong?: boolean;
  /** Whether it asks what a container is: passInspect. */
  readonly isInspect?: boolean;
  /** Whether it asks for a container's log: passLogs. */
  readonly isLogs?: boolean;
  /** What is answered where Podman cannot be reached. */
  readonly inPlace?: (error: RootlessError) => Answer;
}

/**
 * Passes a request to Podman and its answer back. Podman's service ends after some seconds of quiet: one that has taken
 * a request and closed without an answer is asked once more, as Go's client would do, unless that could have had effects.
 */
export async function forward(
  client: Client,
  request: Request,
  options: Forwarding,
  parts: ForwardParts,
): Promise<void> {
  const { holdMs = 0, isRaw = false, answerWithinMs, inPlace = unreachable } = options;
  const { podman } = parts;
  const passesRest = isRaw || !request.body;
  if (!passesRest) client.socket.resume();
  for (let attempt = 1; ; attempt++) {
    const end = await reach(client, holdMs, parts);
    if (end.kind === 'abandoned') return client.count('abandoned');
    if (end.kind !== 'done') {
      if (holdMs > 0) podman.giveUp();
      return await answerInPlace(inPlace, podman.whyDown ?? hungUp(podman));
    }
    const how = await passOn(end.value);
    if (how === 'answered') return;
    if (how === 'too_long') return await answerInPlace(unreachable, tooLong(podman, request));
    if (client.hasLeft) return client.count('abandoned');
    if (how === 'silent') {
      podman.failed(silent(podman, answerWithinMs));
      podman.giveUp();
      return await answerInPlace(inPlace, podman.whyDown ?? hungUp(podman));
    }
    if (attempt > 1 || passesRest || !isRepeatable(request)) return await answerInPlace(unreachable, hungUp(podman));
  }

  function passOn(upstream: Socket): Promise<RelayEnd> {
    if (options.isInspect) return passInspect(client, upstream, request, answerWithinMs ?? holdMs, parts);
    if (options.isLogs) return passLogs(client, upstream, request, parts);
    return pass(client, upstream, request, { ...options, isRaw: passesRest }, parts);
  }

  async function answerInPlace(answer: (error: RootlessError) => Answer, why: RootlessError): Promise<void> {
    parts.log.debug({ code: why.code, reason: why.message }, 'a request did not reach Podman');
    await client.answer(answer(why), 'upstream_error');
  }
}

/** Connects to Podman, and waits for it where it cannot be reached. */
export async function reach(client: Client, holdMs: number, parts: ForwardParts): Promise<HoldEnd<Socket>> {
  const { podman, clock, log } = parts;
  try {
    return { kind: 'done', value: await podman.connect() };
  } catch (error) {
    if (holdMs === 0) return { kind: 'failed', error };
    log.debug({ code: codeOf(error) }, 'a request waits for a Podman that cannot be reached');
  }
  return await hold((signal) => podman.connectWhenReachable(signal), client.socket, { timeoutMs: holdMs, clock });
}

async function pass(
  client: Client,
  upstream: Socket,
  request: Request,
  {
    isRaw,
    answerWithinMs,
    maxBytes = MAX_DOCUMENT_BYTES,
    verdict = 'passed',
    isLong = false,
    onId,
  }: Forwarding & Pick<RelayOptions, 'isRaw'>,
  { podman, held, clock, log }: ForwardParts,
): Promise<RelayEnd> {
  let seen = '';
  let isCounted = false;
  const from = clock.monotonic();
  upstream.on('error', (error) => log.debug({ reason: error.message }, 'a connection to Podman was lost'));
  return await relay(client.socket, upstream, request, {
    isRaw,
    answerWithinMs,
    document: Number.isFinite(maxBytes) ? { maxBytes, held } : undefined,
    clock,
    onAnswer: (chunk) => {
      if (!isCounted) {
        isCounted = true;
        client.count(verdict);
        podman.answered();
        if (!isLong) podman.took(clock.monotonic() - from);
      }
      if (!onId) return;
      seen = (seen + chunk.toString('latin1')).slice(-MOST_WATCHED);
      const [, id] = ID.exec(seen) ?? [];
      if (id !== undefined) onId(id);
    },
  });
}

/** Whether doing it twice does no more than doing it once: a start that has happened is answered so, a create by its name. */
function isRepeatable({ head: { method, target } }: Request): boolean {
  if (method === 'GET' || method === 'HEAD') return true;
  const { kind } = routeOf(method, target);
  return kind === 'create' || kind === 'start';
}

function unreachable(error: RootlessError): Answer {
  return refusal({ status: error instanceof NotYetError ? 503 : 502, cause: error.code, message: error.message });
}

function silent({ name }: UserPodman, withinMs = 0): NotYetError {
  const message = `the Podman of user ${name} accepts connections and does not answer within ${withinMs / 1000} s; ask the operator to run, as ${name}: systemctl --user restart podman.service`;
  return new NotYetError('podman_silent', message);
}

function tooLong({ name }: UserPodman, { head: { method, target } }: Request): RootlessError {
  const message = `the Podman of user ${name} answers ${method} ${target.slice(0, 200)} with more bytes than any Podman sends; ask the operator to check what serves ${name}'s podman.sock`;
  return new RootlessError(message, { code: 'podman_answer_too_long', retryable: true });
}

function hungUp({ name }: UserPodman): NotYetError {
  const remedy = `on this node, journalctl _UID=$(id -u ${name}) may say why; try again`;
  return new NotYetError(
    'podman_hung_up',
    `the Podman of user ${name} closed the connection without an answer; ${remedy}`,
  );
}
