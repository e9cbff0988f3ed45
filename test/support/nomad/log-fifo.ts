import { closeSync, constants, fchownSync, openSync, rmSync, statSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { mustRun } from '../command.ts';
import { DEFAULT_LOGS, LogRotator, type LogsSpec } from './log-rotator.ts';

/** The k8s-file form in which conmon writes a line: time, stream, F for a full line or P for a part, text. */
const LINE = /^\S+ (?:stdout|stderr) [FP] (.*)$/;

/** A task's log FIFO with logmon's part: made by root, 0600, read until it is closed, and what is read goes to the log files. */
export class LogFifo {
  readonly path: string;
  /** What the task has written so far, line by line. */
  readonly lines: string[] = [];
  readonly #logs: string;
  readonly #base: string;
  readonly #limits: LogsSpec;
  #reader: Socket | undefined;
  #rotator: LogRotator | undefined;

  constructor(logs: string, task: string, stream: 'stdout' | 'stderr', limits = DEFAULT_LOGS) {
    this.path = join(logs, `.${task}.${stream}.fifo`);
    this.#logs = logs;
    this.#base = `${task}.${stream}`;
    this.#limits = limits;
  }

  async open(): Promise<void> {
    this.#rotator = new LogRotator(this.#logs, this.#base, this.#limits);
    rmSync(this.path, { force: true });
    await mustRun(['mkfifo', '--mode=600', this.path]);
    // Open for writing too, so that it does not end with its first writer. A socket, for libuv polls those; a file
    // would keep one of its few threads in a read.
    const reader = new Socket({ fd: openSync(this.path, constants.O_RDWR | constants.O_NONBLOCK), writable: false });
    createInterface({ input: reader }).on('line', (line) => this.#take(line));
    this.#reader = reader;
  }

  /** The driver's part since 0.6.5: the FIFO is given to the owner of the socket file. */
  giveToOwnerOf(socketPath: string): void {
    const { uid, gid } = statSync(socketPath);
    const fifo = openSync(this.path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
    fchownSync(fifo, uid, gid);
    closeSync(fifo);
  }

  close(): void {
    this.#reader?.destroy();
    this.#rotator?.close();
    this.#rotator = undefined;
    rmSync(this.path, { force: true });
  }

  #take(line: string): void {
    this.lines.push(LINE.exec(line)?.[1] ?? line);
    try {
      this.#rotator?.write(line);
    } catch {
      // What logmon cannot write ends its reading.
      this.#rotator = undefined;
      this.#reader?.destroy();
    }
  }
}
