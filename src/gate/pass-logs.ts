import { type IncomingMessage, request } from 'node:http';
import type { Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { messageOf, ParseError } from '../errors.ts';
import { refusal } from './answer.ts';
import type { Client } from './client.ts';
import type { ForwardParts } from './forward.ts';
import { Frames } from './frames.ts';
import type { RelayEnd } from './relay.ts';
import type { Request } from './request.ts';

/** What is passed on is what was read as frames: a chunked body is decoded, and the log ends with the connection. */
const HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nConnection: close\r\n\r\n';

/**
 * Passes on the question for a container's log, and the log as it comes, by frames that are no longer than Podman's (Frames). Of an
 * answer without a log the driver reads the status alone.
 *
 * Ends as relay does. Never throws.
 */
export async function passLogs(
  client: Client,
  upstream: Socket,
  { head: { target } }: Request,
  { podman, log }: ForwardParts,
): Promise<RelayEnd> {
  const leave = () => upstream.destroy();
  client.socket.once('close', leave);
  if (client.socket.destroyed) leave();
  try {
    const answer = await answerOf(upstream, target, podman.name);
    podman.answered();
    if (answer.statusCode !== 200) {
      await client.answer({ status: answer.statusCode ?? 502, body: '' }, 'passed');
      return 'answered';
    }
    client.count('passed');
    client.socket.write(HEAD);
    await pipeline(answer, new Frames(`GET ${target} at the Podman of user ${podman.name}`), client.socket);
    return 'answered';
  } catch (error) {
    const isBegun = client.socket.bytesWritten > 0;
    if (!(error instanceof ParseError)) {
      if (!isBegun) return 'closed';
      log.debug({ reason: messageOf(error) }, 'the log of a container broke off');
    } else {
      log.warn({ code: error.code, reason: error.message }, 'the log of a container is none as Podman gives it');
      const why = { status: 502, cause: error.code, message: error.message };
      if (!isBegun) await client.answer(refusal(why), 'upstream_error');
    }
    client.socket.destroy();
    return 'answered';
  } finally {
    client.socket.off('close', leave);
    upstream.destroy();
  }
}

/** @throws Error of node:http where Podman closes before it has answered; ParseError */
function answerOf(upstream: Socket, target: string, user: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const sent = request({
      createConnection: () => upstream,
      path: target,
      headers: { host: 'd', connection: 'close' },
    });
    sent.once('error', reject);
    // Podman sends none of 1xx; without an end they would be read for ever.
    const refuse = ({ statusCode }: { readonly statusCode?: number | undefined }) => {
      reject(new ParseError(`GET ${target} at the Podman of user ${user}`, 'a log', `status ${statusCode}`));
      upstream.destroy();
    };
    sent.once('information', refuse).once('upgrade', refuse).once('response', resolve);
    sent.end();
  });
}
