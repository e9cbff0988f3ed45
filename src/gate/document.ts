import type { Socket } from 'node:net';
import { isChunked } from './http-head.ts';
import { nextChunk } from './next-chunk.ts';

/**
 * The longest answer that is one document, in bytes: what became of a request, a container, its stats, an exec session. Of
 * these a container's inspect is the longest, with all its environment and labels: some 10 KiB.
 */
export const MAX_DOCUMENT_BYTES = 1024 * 1024;
/**
 * The same of an image, and of lists. containers/image takes an image's configuration of at most 4 MiB (MaxConfigBodySize in
 * internal/iolimits), of which inspect tells labels twice.
 */
export const MAX_LONG_DOCUMENT_BYTES = 8 * 1024 * 1024;
/** What is held at once of all answers of one user's Podman, in bytes. */
const MOST_HELD_BYTES = 64 * 1024 * 1024;
/** A head that is longer is one that never ends. */
const MAX_HEAD_BYTES = 64 * 1024;

/** What is held of answers that are not whole yet, all in all. */
export interface HeldBytes {
  bytes: number;
}

/** How long a document may be, and what else is held beside it. */
export interface DocumentLimit {
  readonly maxBytes: number;
  readonly held: HeldBytes;
}

/**
 * Reads an answer that is one document until it is whole, as raw bytes. Stops a user whose Podman answers without end: the driver
 * reads such answers to their end into memory that all users share (io.ReadAll in its api package).
 * @param method of the request
 * @returns undefined where it is too long; what there is of it where Podman breaks off
 */
export async function readDocument(
  podman: Socket,
  method: string,
  { maxBytes, held }: DocumentLimit,
): Promise<Buffer | undefined> {
  const answer = new AnswerCollector(method);
  try {
    for (let chunk = await nextChunk(podman); chunk; chunk = await nextChunk(podman)) {
      answer.push(chunk);
      held.bytes += chunk.length;
      if (answer.length > maxBytes || held.bytes > MOST_HELD_BYTES) return undefined;
      if (answer.isWhole) break;
    }
    return answer.bytes;
  } finally {
    held.bytes -= answer.length;
  }
}

/** How the end of an answer is known, RFC 9112, section 6.3: after so many bytes, by a last chunk, or because it is closed. */
type AnswerEnd = { readonly after: number } | 'chunk' | 'close';

/**
 * Collects an answer, and says when it seems to be whole. That is no more than a hint, by which it is passed on although Podman has
 * not closed: an answer that goes on all the same is cut off at its bound.
 */
class AnswerCollector {
  readonly #method: string;
  /** Twice as long each time that it is full: whoever sends single bytes is to cost no copy, and no object, for each of them. */
  #buffer: Buffer = Buffer.alloc(FIRST_BYTES);
  #length = 0;
  #end: AnswerEnd | undefined;

  constructor(method: string) {
    this.#method = method;
  }

  get length(): number {
    return this.#length;
  }

  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  get isWhole(): boolean {
    if (this.#end === undefined || this.#end === 'close') return false;
    if (this.#end !== 'chunk') return this.#length >= this.#end.after;
    return this.bytes.subarray(-LAST_CHUNK.length).equals(LAST_CHUNK);
  }

  push(chunk: Buffer): void {
    const before = this.#length;
    this.#length += chunk.length;
    if (this.#length > this.#buffer.length) {
      const longer = Buffer.alloc(Math.max(2 * this.#buffer.length, this.#length));
      this.#buffer.copy(longer, 0, 0, before);
      this.#buffer = longer;
    }
    chunk.copy(this.#buffer, before);
    if (this.#end !== undefined) return;
    const end = this.bytes.indexOf(HEAD_END, Math.max(0, before - HEAD_END.length));
    if (end !== -1) this.#end = endOf(this.#method, this.bytes.toString('latin1', 0, end + 2), end + HEAD_END.length);
    else if (this.#length > MAX_HEAD_BYTES) this.#end = 'close';
  }
}

/** As long as most answers are. */
const FIRST_BYTES = 16 * 1024;
const HEAD_END = '\r\n\r\n';
const LAST_CHUNK = Buffer.from('\r\n0\r\n\r\n');

function endOf(method: string, head: string, headLength: number): AnswerEnd {
  // Without a body, whatever the head says of one.
  if (method === 'HEAD' || /^HTTP\/1\.1 (1\d\d|204|304) /.test(head)) return { after: headLength };
  if (isChunked(head)) return 'chunk';
  const [, length] = /\r\ncontent-length:[ \t]*(\d{1,15})[ \t]*\r\n/i.exec(head) ?? [];
  return length === undefined ? 'close' : { after: headLength + Number(length) };
}
