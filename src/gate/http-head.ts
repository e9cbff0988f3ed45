import { ParseError } from '../errors.ts';

/** The longest head we take, in bytes, its closing empty line included. */
export const MAX_HEAD_BYTES = 64 * 1024;

/** How the end of a request's body is known (RFC 9112, section 6.3). */
type Framing = { readonly kind: 'length'; readonly length: number } | { readonly kind: 'chunked' };

/** What the gate needs to know of a request. */
export interface RequestHead {
  readonly method: string;
  /** In origin form, as sent: path and query, percent-encoded. */
  readonly target: string;
  readonly framing: Framing;
  /** Whether there is an Upgrade header. */
  readonly upgrade: boolean;
  /** Whether there is an Expect header. */
  readonly expect: boolean;
}

const EMPTY = Buffer.alloc(0);
const LF = 0x0a;
const CR = 0x0d;

/** Collects the chunks of a head until its empty line. How the bytes are cut into chunks makes no difference. */
export class HeadCollector {
  #bytes: Buffer = EMPTY;

  /**
   * Takes the next chunk. Gives the head, closing empty line included, and what follows it, or undefined while it is incomplete.
   * @throws ParseError for a line that does not end in CRLF, or more than MAX_HEAD_BYTES
   */
  push(chunk: Buffer): { head: Buffer; rest: Buffer } | undefined {
    const seen = this.#bytes.length;
    const bytes = seen === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    for (let at = bytes.indexOf(LF, seen); at !== -1 && at < MAX_HEAD_BYTES; at = bytes.indexOf(LF, at + 1)) {
      if (bytes[at - 1] !== CR) throw new ParseError('head', 'lines that end in CRLF', 'a bare LF');
      if (bytes[at - 2] === LF) return { head: bytes.subarray(0, at + 1), rest: bytes.subarray(at + 1) };
    }
    if (bytes.length >= MAX_HEAD_BYTES) {
      throw new ParseError('head', `at most ${MAX_HEAD_BYTES} bytes`, 'a longer one');
    }
    this.#bytes = bytes;
    return undefined;
  }
}

/** Whether an answer comes in chunks, by its head: as Go's server writes it. */
export function isChunked(head: string): boolean {
  return /\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n/i.test(head);
}

const REQUEST_LINE = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+) (\/[!"$-~]*) HTTP\/1\.1$/;
const HEADER_LINE = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)$/;

/**
 * Reads a request head. Refuses whatever another HTTP parser, Go's net/http before all, could understand differently,
 * so that no request gets past the gate inside what we take for another one's body (request smuggling).
 * @param head as HeadCollector gives it
 * @throws ParseError
 */
export function parseRequestHead(head: Buffer): RequestHead {
  const [first = '', ...lines] = linesOf(head);
  const [, method, target] = REQUEST_LINE.exec(first) ?? [];
  if (method === undefined || target === undefined) {
    throw new ParseError('request line', '<method> /<path> HTTP/1.1', JSON.stringify(first.slice(0, 200)));
  }
  const headers = parseHeaders(lines);
  const framing = framingOf(headers) ?? { kind: 'length', length: 0 };
  return { method, target, framing, upgrade: headers.has('upgrade'), expect: headers.has('expect') };
}

/**
 * The head as it is passed on: with `Connection: close` in place of whatever it said of the connection, so that Podman
 * serves this one request, says so to the client, and closes. Whatever else follows on the connection is no request.
 * @param head one that parseRequestHead has taken
 */
export function closingHead(head: Buffer, { upgrade }: Pick<RequestHead, 'upgrade'>): Buffer {
  const lines = linesOf(head).filter((line) => !/^(connection|keep-alive|proxy-connection):/i.test(line));
  const close = `Connection: close${upgrade ? ', Upgrade' : ''}`;
  return Buffer.from(`${[...lines, close].join('\r\n')}\r\n\r\n`, 'latin1');
}

/** latin1 keeps each byte one character. */
function linesOf(head: Buffer): string[] {
  return head.toString('latin1', 0, head.length - 4).split('\r\n');
}

/** By lower-case name. A folded line, white space before the colon and control characters do not match, and are refused. */
function parseHeaders(lines: readonly string[]): Map<string, string[]> {
  const headers = new Map<string, string[]>();
  for (const line of lines) {
    const [, name, value] = HEADER_LINE.exec(line) ?? [];
    if (name === undefined || value === undefined) {
      // The name only: a value can be a secret, and the message goes into logs.
      const shown = JSON.stringify(line.split(':', 1)[0]?.slice(0, 80));
      throw new ParseError('header', '<name>: <value> on one line', `a line that begins with ${shown}`);
    }
    const key = name.toLowerCase();
    const values = headers.get(key);
    if (values) values.push(trimmed(value));
    else headers.set(key, [trimmed(value)]);
  }
  return headers;
}

function framingOf(headers: ReadonlyMap<string, readonly string[]>): Framing | undefined {
  const encodings = headers.get('transfer-encoding');
  const lengths = headers.get('content-length');
  if (encodings && lengths) {
    throw new ParseError('headers', 'Content-Length or Transfer-Encoding', 'both');
  }
  if (encodings) {
    if (encodings.length === 1 && encodings[0]?.toLowerCase() === 'chunked') return { kind: 'chunked' };
    throw new ParseError('Transfer-Encoding', 'chunked, once', JSON.stringify(encodings.join(', ').slice(0, 80)));
  }
  if (lengths) {
    if (lengths.length === 1 && /^[0-9]{1,15}$/.test(lengths[0] ?? '')) {
      return { kind: 'length', length: Number(lengths[0]) };
    }
    throw new ParseError('Content-Length', 'one decimal number', JSON.stringify(lengths.join(', ').slice(0, 80)));
  }
  return undefined;
}

/** Without the optional white space of RFC 9110 around it: space and tab, nothing else. */
function trimmed(value: string): string {
  let from = 0;
  let to = value.length;
  while (value[from] === ' ' || value[from] === '\t') from += 1;
  while (to > from && (value[to - 1] === ' ' || value[to - 1] === '\t')) to -= 1;
  return value.slice(from, to);
}
