import { RootlessError } from '../errors.ts';

/** An error that decides what the command exits with (exit-code.ts). */
export class CommandError extends RootlessError {
  readonly exitCode: number;

  constructor(exitCode: number, code: string, message: string, cause?: unknown) {
    super(message, { code, retryable: false, cause });
    this.exitCode = exitCode;
  }
}
