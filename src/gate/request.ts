import type { Socket } from 'node:net';
import { closingHead, HeadCollector, parseRequestHead, type RequestHead } from './http-head.ts';
import { nextChunk } from './next-chunk.ts';

/** The longest body that is read before anything of the request is passed on, in bytes: no create is longer. */
export const MAX_BODY_BYTES = 4 * 1024 * 1024;

/** A request as it is passed on. */
export interface Request {
  readonly head: RequestHead;
  /** The bytes of its head, which ask for the connection's end. */
  readonly bytes: Buffer;
  /** Its whole body; undefined where the rest of the connection is passed on as it comes: long, chunked, or to be asked for. */
  readonly body: Buffer | undefined;
}

/**
 * Reads the one request of a connection.
 * @param onBegun called when its first byte has come
 * @returns undefined where the client left before the request was whole
 * @throws ParseError
 */
export async function readRequest(client: Socket, onBegun: () => void): Promise<Request | undefined> {
  const collector = new HeadCollector();
  for (let chunk = await nextChunk(client); chunk; chunk = await nextChunk(client)) {
    onBegun();
    const found = collector.push(chunk);
    if (!found) continue;
    if (found.rest.length > 0) client.unshift(found.rest);
    const head = parseRequestHead(found.head);
    const bytes = closingHead(found.head, head);
    if (head.framing.kind !== 'length' || head.framing.length > MAX_BODY_BYTES || head.expect) {
      return { head, bytes, body: undefined };
    }
    const body = await readBody(client, head.framing.length);
    return body && { head, bytes, body };
  }
  return undefined;
}

async function readBody(client: Socket, length: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  for (let missing = length; missing > 0; ) {
    const chunk = await nextChunk(client);
    if (!chunk) return undefined;
    if (chunk.length > missing) client.unshift(chunk.subarray(missing));
    chunks.push(chunk.subarray(0, missing));
    missing -= Math.min(chunk.length, missing);
  }
  return Buffer.concat(chunks, length);
}
