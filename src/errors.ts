import { constants } from 'node:os';

/** What an error carries beside its message. `retryable` errors back off and try again; the others wait for a change. */
interface ErrorDetails {
  readonly code: string;
  readonly retryable: boolean;
  readonly cause?: unknown;
  /** When to try again at the latest, in ms: for what is known to be so in a moment. */
  readonly retryInMs?: number | undefined;
}

/**
 * The base of every error of ours. `code` is stable (a metric label, part of `--json`), the message is for people
 * and names the remedy where there is one.
 */
export class RootlessError extends Error {
  readonly code: string;
  readonly retryable: boolean;
  readonly retryInMs: number | undefined;

  constructor(message: string, details: ErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.code = details.code;
    this.retryable = details.retryable;
    this.retryInMs = details.retryInMs;
  }
}

/** What we will not do, and why: terminal until the job, the configuration or the host changes. */
export class RefusedError extends RootlessError {
  constructor(code: string, message: string, cause?: unknown) {
    super(message, { code, retryable: false, cause });
  }
}

/** What is not so yet and may be in a moment: Nomad out of reach, a user's Podman not running, a directory not made yet. */
export class NotYetError extends RootlessError {
  constructor(code: string, message: string, cause?: unknown, retryInMs?: number) {
    super(message, { code, retryable: true, cause, retryInMs });
  }
}

/** Input from outside that is not of the form we know: says where, what was expected, and what was there. */
export class ParseError extends RootlessError {
  constructor(where: string, expected: string, got: string, cause?: unknown) {
    super(`${where}: expected ${expected}, got ${got}`, { code: 'parse_error', retryable: false, cause });
  }
}

/** The stable code of anything thrown; what is not ours is `unexpected`. */
export function codeOf(error: unknown): string {
  return error instanceof RootlessError ? error.code : 'unexpected';
}

const { EMFILE, ENFILE, ENOSPC, E2BIG, ENOMEM, EAGAIN } = constants.errno;
/** What says that a process or the host has run out of something, which may be there again in a moment: errno(3). */
const LACKS: readonly number[] = [EMFILE, ENFILE, ENOSPC, E2BIG, ENOMEM, EAGAIN];

/** Whether it may be otherwise in a moment: an error that says so, and one that comes of the lack of something. */
export function isRetryable(error: unknown): boolean {
  return (error instanceof RootlessError && error.retryable) || isOfLack(error);
}

/** Errors of node and SyscallError carry `errno`, the former negative. */
function isOfLack(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if ('errno' in error && typeof error.errno === 'number' && LACKS.includes(Math.abs(error.errno))) return true;
  return isOfLack(error.cause);
}

/** Whether a system call failed with the error number of one of these names, errno(3): a SyscallError, or an error of node. */
export function failedWith(error: unknown, ...names: readonly (keyof typeof constants.errno)[]): boolean {
  if (!(error instanceof Error && 'errno' in error && typeof error.errno === 'number')) return false;
  const errno = Math.abs(error.errno);
  return names.some((name) => constants.errno[name] === errno);
}

/** The message of anything thrown, with the messages of its causes behind it. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message}: ${messageOf(error.cause)}`;
}

/** When to try again at the latest after anything thrown, in ms; infinite where it does not say. */
export function retryInMs(error: unknown): number {
  return (error instanceof RootlessError ? error.retryInMs : undefined) ?? Number.POSITIVE_INFINITY;
}
