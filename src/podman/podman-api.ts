import { request } from 'node:http';
import type { Socket } from 'node:net';
import type { Clock } from '../clock.ts';
import { messageOf, NotYetError, ParseError, RootlessError } from '../errors.ts';
import { connectToPodman, type PodmanUser } from './connect.ts';

/** One call of Podman's API. */
export interface PodmanCall {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** Path and query, such as `/v4.0.0/libpod/info`. */
  readonly target: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** The whole call, in milliseconds. */
  readonly timeoutMs: number;
  /** The longest answer that is read, in bytes: what a user answers must not fill our memory. */
  readonly maxBytes: number;
  /** Gives the call up. */
  readonly signal?: AbortSignal;
}

/**
 * Pieces that an answer may come in without regard to their length, and the bytes that those beyond have on average. Each is a call
 * and a buffer, which bytes do not count. Go's server makes chunks of 2 KiB, and a line of a pull's report is longer than this.
 */
const MOST_PIECES = 100;
const LEAST_BYTES = 16;

/** What Podman answered. */
export interface PodmanAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

/**
 * Calls the API of a user's own Podman, one connection a call. Whatever the user has put there instead costs at most
 * `timeoutMs` and `maxBytes`.
 * @param connect gives the connection, which ends with the call
 * @throws NotYetError `podman_unreachable`, `podman_silent` (no whole answer in time), `podman_broke_off`; as connectToPodman; the signal's reason
 * @throws ParseError where the answer is longer than `maxBytes`, or comes in very many small pieces
 */
export async function callPodman(
  user: PodmanUser,
  { method, target, headers = {}, timeoutMs, maxBytes, signal }: PodmanCall,
  clock: Pick<Clock, 'after'>,
  connect: () => Promise<Socket> = () => connectToPodman(user),
): Promise<PodmanAnswer> {
  const giveUp = new AbortController();
  const what = `${method} ${target} at the Podman of user ${user.name}`;
  const stop = clock.after(timeoutMs, () =>
    giveUp.abort(new NotYetError('podman_silent', `${what}: no answer within ${timeoutMs / 1000} s`)),
  );
  const onAbort = () => giveUp.abort(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    if (signal?.aborted) throw signal.reason;
    const aborted = new Promise<never>((_, reject) => {
      giveUp.signal.addEventListener('abort', () => reject(giveUp.signal.reason), { once: true });
    });
    return await Promise.race([aborted, exchange()]);
  } catch (error) {
    if (error instanceof RootlessError) throw error;
    throw new NotYetError('podman_broke_off', `${what} was interrupted: ${messageOf(error)}`, error);
  } finally {
    stop();
    signal?.removeEventListener('abort', onAbort);
    giveUp.abort(new NotYetError('podman_silent', `${what} is over`));
  }

  async function exchange(): Promise<PodmanAnswer> {
    const socket = await connect();
    giveUp.signal.addEventListener('abort', () => socket.destroy(), { once: true });
    if (giveUp.signal.aborted) socket.destroy();
    return await new Promise((resolve, reject) => {
      const sent = request({
        createConnection: () => socket,
        method,
        path: target,
        headers: { host: 'd', connection: 'close', ...headers },
      });
      sent.once('error', reject);
      // Podman sends none of 1xx; without an end they would be read for as long as the call may take.
      sent.once('information', ({ statusCode }) => {
        reject(new ParseError(what, 'an answer', `status ${statusCode}`));
        socket.destroy();
      });
      sent.once('response', (response) => {
        const chunks: Buffer[] = [];
        let length = 0;
        response.on('data', (chunk: Buffer) => {
          length += chunk.length;
          if (length > maxBytes) {
            reject(new ParseError(what, `an answer of at most ${maxBytes} bytes`, 'a longer one'));
            socket.destroy();
          } else if (chunks.push(chunk) > MOST_PIECES + length / LEAST_BYTES) {
            reject(new ParseError(what, 'an answer in pieces as Podman makes them', 'very many small ones'));
            socket.destroy();
          }
        });
        response.once('error', reject);
        response.once('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
        );
      });
      sent.end();
    });
  }
}
