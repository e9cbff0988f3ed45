import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TlsOptions } from 'node:tls';

/** An HTTP server in Nomad's place, on the loopback or a unix socket; goes away with the scope that holds it. */
export interface StandIn extends AsyncDisposable {
  /** As in the client's options. */
  readonly address: string;
  /** What was asked, in order. */
  readonly requests: readonly IncomingMessage[];
}

export interface StandInOptions {
  readonly socketPath?: string;
  readonly tls?: TlsOptions;
}

/** Starts a server that answers by `answer`. */
export async function standIn(answer: RequestListener, { socketPath, tls }: StandInOptions = {}): Promise<StandIn> {
  const requests: IncomingMessage[] = [];
  const listener = (request: IncomingMessage, response: ServerResponse) => {
    requests.push(request);
    answer(request, response);
  };
  const server = tls ? createTlsServer(tls, listener) : createServer(listener);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    if (socketPath === undefined) server.listen(0, '127.0.0.1', resolve);
    else server.listen(socketPath, resolve);
  });
  const at = server.address() as AddressInfo | string;
  return {
    address: typeof at === 'string' ? `unix://${at}` : `${tls ? 'https' : 'http'}://127.0.0.1:${at.port}`,
    requests,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Answers as Nomad does with JSON. */
export function sendJson(response: ServerResponse, json: string, index = 125): void {
  response.writeHead(200, { 'Content-Type': 'application/json', 'X-Nomad-Index': String(index) }).end(json);
}

/** Answers as Nomad does with an error. */
export function sendText(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8' }).end(text);
}

/** Begins a stream as Nomad does: the headers go out at once. */
export function beginStream(response: ServerResponse): void {
  response.writeHead(200, { 'Content-Type': 'application/json', 'Cache-Control': 'no-cache' });
  response.flushHeaders();
}
