import type { Socket } from 'node:net';
import * as z from 'zod';
import { codeOf, ParseError } from '../errors.ts';
import { parseJson } from '../parse.ts';
import { callPodman, type PodmanAnswer } from '../podman/podman-api.ts';
import { refusal } from './answer.ts';
import type { Client } from './client.ts';
import { exact } from './create-body.ts';
import { MAX_DOCUMENT_BYTES } from './document.ts';
import type { ForwardParts } from './forward.ts';
import type { RelayEnd } from './relay.ts';
import type { Request } from './request.ts';

/** libpod/define/container_inspect.go of Podman, InspectContainerData. */
const Inspected = exact({ State: z.looseObject({}) });

/**
 * Passes on the question what a container is, and the answer when it is whole and says its state. Stops a user whose Podman
 * answers without a state: the driver looks into it unchecked (driver.go, handle.go: `inspectData.State`), and would end with
 * a nil pointer, for all users and each time it recovers a task. Does not stop her from saying what is not so.
 *
 * Ends as relay does. Never throws.
 * @param withinMs how long Podman may take, in milliseconds
 */
export async function passInspect(
  client: Client,
  upstream: Socket,
  { head: { target } }: Request,
  withinMs: number,
  { podman, clock, log, warned }: ForwardParts,
): Promise<RelayEnd> {
  const gone = new AbortController();
  const leave = () => gone.abort(new Error('the client has left'));
  client.socket.once('close', leave);
  if (client.socket.destroyed) leave();
  const from = clock.monotonic();
  try {
    const call = {
      method: 'GET',
      target,
      timeoutMs: withinMs,
      maxBytes: MAX_DOCUMENT_BYTES,
      signal: gone.signal,
    } as const;
    const answer = await callPodman(podman.user, call, clock, async () => upstream);
    podman.answered();
    podman.took(clock.monotonic() - from);
    if (answer.status === 200) requireState(`GET ${target} at the Podman of user ${podman.name}`, answer);
    await client.answer({ status: answer.status, body: answer.body.toString('utf8') }, 'passed');
  } catch (error) {
    if (!(error instanceof ParseError)) return codeOf(error) === 'podman_silent' ? 'silent' : 'closed';
    log[warned.levelOf('inspect', error.code)](
      { code: error.code, reason: error.message },
      'the inspect of a container is not in the form that Podman gives',
    );
    await client.answer(refusal({ status: 502, cause: error.code, message: error.message }), 'upstream_error');
  } finally {
    client.socket.off('close', leave);
    upstream.destroy();
  }
  return 'answered';
}

/** Bounded by its values, too: what is read here is read on the one thread that serves all users. @throws ParseError */
function requireState(where: string, { body }: PodmanAnswer): void {
  try {
    parseJson(Inspected, body.toString('utf8'), where);
  } catch (error) {
    throw new ParseError(where, "a container's state", 'another answer', error);
  }
}
