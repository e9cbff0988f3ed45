import { STATUS_CODES } from 'node:http';

/** An answer of the gate's own, in place of Podman's. */
export interface Answer {
  readonly status: number;
  /** A short stable word for programs. */
  readonly cause: string;
  /** For the job author: what is wrong and what to do. */
  readonly message: string;
  /** Whether the connection ends with it, because the rest of the request stays unread. */
  readonly close: boolean;
}

/**
 * The answer's bytes, with libpod's error object as its body (pkg/errorhandling/errorhandling.go, ErrorModel). The
 * driver shows that body to the job author as it is.
 */
export function format({ status, cause, message, close }: Answer): Buffer {
  const body = JSON.stringify({ cause, message: `nomad-rootless: ${message}`, response: status });
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Error'}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...(close ? ['Connection: close'] : []),
  ];
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`);
}
