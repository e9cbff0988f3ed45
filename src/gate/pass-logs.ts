import type { Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { messageOf, ParseError } from '../errors.ts';
import { refusal } from './answer.ts';
import { Chunked } from './chunked.ts';
import type { Client } from './client.ts';
import type { ForwardParts } from './forward.ts';
import { Frames } from './frames.ts';
import { HeadCollector, isChunked } from './http-head.ts';
import { nextChunk } from './next-chunk.ts';
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
  { podman, log, warned }: ForwardParts,
): Promise<RelayEnd> {
  const leave = () => upstream.destroy();
  client.socket.once('close', leave);
  if (client.socket.destroyed) leave();
  const where = `GET ${target} at the Podman of user ${podman.name}`;
  upstream.on('error', (error) => log.debug({ reason: error.message }, 'a connection to Podman was lost'));
  try {
    upstream.write(`GET ${target} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n`);
    const answer = await answerOf(upstream, where);
    if (!answer) return 'closed';
    podman.answered();
    if (answer.status !== 200) {
      await client.answer({ status: answer.status, body: '' }, 'passed');
      return 'answered';
    }
    client.count('passed');
    client.socket.write(HEAD);
    const body = answer.isChunked ? unchunked(upstream, where) : upstream;
    await pipeline(body, new Frames(where), client.socket);
    return 'answered';
  } catch (error) {
    const isBegun = client.socket.bytesWritten > 0;
    if (!(error instanceof ParseError)) {
      if (!isBegun) return 'closed';
      log.debug({ reason: messageOf(error) }, 'the log of a container ended early');
    } else {
      log[warned.levelOf('logs', error.code)](
        { code: error.code, reason: error.message },
        'the log of a container is not in the form that Podman gives',
      );
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

/** How an answer begins; undefined where Podman closes before it is known. @throws ParseError */
async function answerOf(
  upstream: Socket,
  where: string,
): Promise<{ readonly status: number; readonly isChunked: boolean } | undefined> {
  const collector = new HeadCollector();
  for (let chunk = await nextChunk(upstream); chunk; chunk = await nextChunk(upstream)) {
    const found = collector.push(chunk);
    if (!found) continue;
    if (found.rest.length > 0) upstream.unshift(found.rest);
    const head = found.head.toString('latin1');
    const [line = '', status] = /^HTTP\/1\.[01] ([2-5]\d\d) /.exec(head) ?? [];
    // Podman sends none of 1xx; without an end they would be read for ever.
    if (line === '') throw new ParseError(where, 'a log', `status ${head.slice(0, 30).split(' ', 2)[1]}`);
    return { status: Number(status), isChunked: isChunked(head) };
  }
  return undefined;
}

/** @throws ParseError */
async function* unchunked(upstream: Socket, where: string): AsyncGenerator<Buffer> {
  const chunked = new Chunked(where);
  for await (const piece of upstream) {
    const bytes = chunked.bytesIn(piece);
    if (bytes.length > 0) yield bytes;
    if (chunked.isOver) return;
  }
}
