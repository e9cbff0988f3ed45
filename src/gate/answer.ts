import { STATUS_CODES } from 'node:http';

/** An answer of the gate's own, in place of Podman's. The connection ends with it. */
export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string;
}

/** A refusal, or a failure to pass something on. */
export interface Refusal {
  readonly status: number;
  /** A short stable word for programs. */
  readonly cause: string;
  /** For the job author: what is wrong and what to do. */
  readonly message: string;
}

/**
 * A refusal with libpod's error object as its body (pkg/errorhandling/errorhandling.go, ErrorModel). The driver shows that
 * body to the job author as it is.
 */
export function refusal({ status, cause, message }: Refusal): Answer {
  return { status, body: JSON.stringify({ cause, message: `nomad-rootless: ${message}`, response: status }) };
}

/** The answer's bytes. */
export function format({ status, headers = {}, body }: Answer): Buffer {
  const fields = { 'content-type': 'application/json', ...headers, 'content-length': Buffer.byteLength(body) };
  const lines = Object.entries({ ...fields, connection: 'close' }).map(([name, value]) => `${name}: ${value}`);
  return Buffer.from([`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Error'}`, ...lines, '', body].join('\r\n'));
}
