/** An answer of Nomad's that is not a success. Nomad explains itself in plain text, which is `body`. */
export class NomadError extends Error {
  /** The HTTP status. */
  readonly status: number;
  /** The answer's text without the white space around it; at most 4096 characters of it. */
  readonly body: string;
  /** The request's path, without the query. */
  readonly path: string;

  constructor(path: string, status: number, text: string) {
    const body = text.trim().slice(0, 4096);
    super(`GET ${path}: ${status} ${body === '' ? '(no text)' : body.slice(0, 300)}`);
    this.name = 'NomadError';
    this.status = status;
    this.body = body;
    this.path = path;
  }
}

/** No whole answer: nobody listens, TLS failed, the connection broke, the time was over, or what came is not JSON. */
export class NomadUnreachableError extends Error {
  constructor(path: string, reason: string, cause?: unknown) {
    super(`GET ${path}: ${reason}`, cause === undefined ? undefined : { cause });
    this.name = 'NomadUnreachableError';
  }
}
