import type { Socket } from 'node:net';
import { type Answer, format } from '../gate/answer.ts';

/** Far more than a health check or Prometheus sends. */
const MOST_BYTES = 8192;
const END = '\r\n\r\n';
const HOST = /\r\nhost:[ \t]*([^\r\n]*?)[ \t]*\r\n/i;
const ACCEPT = /\r\naccept:[ \t]*([^\r\n]*)/i;
const REQUEST_LINE = /^([A-Z]{1,16}) (\/\S*) HTTP\/1\.[01]\r\n/;

/** What is asked for; the other headers are nothing to us. */
export interface PageRequest {
  readonly method: string;
  /** Without its query. */
  readonly path: string;
  /** The content types that the client takes, as it says it; empty where it does not. */
  readonly accept: string;
  /** The field Host; empty where there is none. */
  readonly host: string;
}

/**
 * Answers one request of a connection, and ends it. Not by node:http: there what comes in one piece is taken apart before
 * anybody can say that it is too much, and 64 KiB hold thousands of requests.
 *
 * What follows the first request is never read. Who reads nothing, or sends nothing, is the caller's to end.
 * @param answer must not throw
 */
export function answerOneRequest(socket: Socket, answer: (request: PageRequest) => Promise<Answer>): void {
  let bytes: Buffer = Buffer.alloc(0);
  const onData = (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk.subarray(0, MOST_BYTES)]);
    const end = bytes.indexOf(END);
    if (end === -1 && bytes.length < MOST_BYTES) return;
    socket.off('data', onData).pause();
    const head = bytes.toString('latin1', 0, end + END.length);
    const [, method = '', target = ''] = REQUEST_LINE.exec(head) ?? [];
    if (end === -1) return say(socket, { status: 431, body: 'expected a shorter head\n' });
    if (method === '') return say(socket, { status: 400, body: 'expected <method> /<path> HTTP/1.1\n' });
    const [, accept = ''] = ACCEPT.exec(head) ?? [];
    const [, host = ''] = HOST.exec(head) ?? [];
    const path = target.split('?', 1)[0] ?? target;
    void answer({ method, path, accept, host }).then((said) => say(socket, said, method));
  };
  socket.on('data', onData);
}

function say(socket: Socket, { headers, ...answer }: Answer, method = 'GET'): void {
  const bytes = format({ ...answer, headers: { 'content-type': 'text/plain', ...headers } });
  const head = bytes.subarray(0, bytes.indexOf(END) + END.length);
  // Not to wait for the client's end of it, which is not read any more.
  socket.end(method === 'HEAD' ? head : bytes, () => socket.destroy());
}
