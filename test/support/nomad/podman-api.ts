import { Agent, request } from 'node:http';
import { createConnection } from 'node:net';
import { text } from 'node:stream/consumers';
import { TIME_SCALE } from '../time-scale.ts';

/** The driver's `client_http_timeout`. */
const TIMEOUT_MS = 60_000 * TIME_SCALE;

/** What Podman's service, or the gate before it, answered. */
export interface PodmanResponse {
  readonly status: number;
  readonly body: string;
}

/** What an exec session wrote and how it ended. */
export interface ExecResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

/** Speaks to one podman socket as the driver does: HTTP with kept connections, and raw bytes after exec start. */
export class PodmanApi {
  readonly socketPath: string;
  /** Every request so far, method and path, in order. */
  readonly requests: string[] = [];
  readonly #agent: Agent;

  /** @param keepsConnections whether a request may take the connection of one before; true unless told, as with the driver */
  constructor(socketPath: string, keepsConnections = true) {
    this.socketPath = socketPath;
    this.#agent = new Agent({ keepAlive: keepsConnections });
  }

  /** @param body sent as JSON. @throws Error when there is no answer within the driver's 60 seconds */
  call(method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown): Promise<PodmanResponse> {
    this.requests.push(`${method} ${path}`);
    const outgoing = request({
      socketPath: this.socketPath,
      agent: this.#agent,
      method,
      path,
      headers: { Host: 'u', 'User-Agent': 'Go-http-client/1.1', ...(method === 'POST' ? JSON_BODY : {}) },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
    return new Promise<PodmanResponse>((resolve, reject) => {
      outgoing.on('error', (error) => {
        // As Go's client: a kept connection that the other side has closed meanwhile is no failure of the call.
        const stale = outgoing.reusedSocket && 'code' in error && ['ECONNRESET', 'EPIPE'].includes(String(error.code));
        if (stale) resolve(this.call(method, path, body));
        else reject(error);
      });
      outgoing.on('response', (response) => {
        text(response).then((answer) => resolve({ status: response.statusCode ?? 0, body: answer }), reject);
      });
    });
  }

  /**
   * exec: create, start (a plain POST after which both sides speak raw bytes on the same connection), inspect.
   * As with the driver, standard input is not closed when it is at its end.
   */
  async exec(container: string, command: readonly string[], stdin: string): Promise<ExecResult> {
    const config = { Cmd: command, AttachStdin: true, AttachStdout: true, AttachStderr: true };
    const created = await this.call('POST', `/v1.0.0/libpod/containers/${container}/exec`, config);
    if (created.status !== 201) {
      throw new Error(`cannot create exec session, status code: ${created.status}: ${created.body}`);
    }
    const { Id: id }: { Id: string } = JSON.parse(created.body);
    const { stdout, stderr } = await this.#startExec(id, stdin);
    const inspected = await this.call('GET', `/v1.0.0/libpod/exec/${id}/json`);
    const { ExitCode: exitCode }: { ExitCode: number } = JSON.parse(inspected.body);
    return { stdout, stderr, exitCode };
  }

  async #startExec(id: string, stdin: string): Promise<{ stdout: string; stderr: string }> {
    const body = JSON.stringify({ Detach: false });
    const head = [
      `POST /exec/${id}/start HTTP/1.1`,
      'Host: u',
      'User-Agent: Go-http-client/1.1',
      `Content-Length: ${body.length}`,
      'Content-Type: application/json',
      'Accept-Encoding: gzip',
    ];
    this.requests.push(`POST /exec/${id}/start`);
    const socket = createConnection(this.socketPath);
    socket.write(`${head.join('\r\n')}\r\n\r\n${body}`);
    let received = Buffer.alloc(0);
    let headEnd = -1;
    for await (const chunk of socket) {
      received = Buffer.concat([received, chunk]);
      if (headEnd >= 0) continue;
      headEnd = received.indexOf('\r\n\r\n');
      if (headEnd >= 0) socket.write(stdin);
    }
    const status = received.subarray(0, received.indexOf('\r\n')).toString();
    if (!/^HTTP\/1\.1 200 /.test(status)) throw new Error(`cannot start exec session: ${received.toString()}`);
    return demultiplex(received.subarray(headEnd + 4));
  }

  /** Closes the kept connections. */
  close(): void {
    this.#agent.destroy();
  }
}

const JSON_BODY = { 'Content-Type': 'application/json' };

/** Frames of 8 bytes of header (stream number, 3 zeros, length big-endian) and that many bytes. */
function demultiplex(bytes: Buffer): { stdout: string; stderr: string } {
  const streams: [string, string, string] = ['', '', ''];
  for (let at = 0; at + 8 <= bytes.length; ) {
    const length = bytes.readUInt32BE(at + 4);
    const stream = bytes[at];
    if (stream !== 1 && stream !== 2) throw new Error(`exec: unexpected stream ${stream}`);
    streams[stream] += bytes.subarray(at + 8, at + 8 + length).toString();
    at += 8 + length;
  }
  return { stdout: streams[1], stderr: streams[2] };
}
