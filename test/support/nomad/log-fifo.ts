import { closeSync, constants, fchownSync, openSync, rmSync, statSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { mustRun } from '../command.ts';

/** The k8s-file form in which conmon writes a line: time, stream, F for a full line or P for a part, text. */
const LINE = /^\S+ (?:stdout|stderr) [FP] (.*)$/;

/** A task's log FIFO with logmon's part: made by root, 0600, read until it is closed. */
export class LogFifo {
  readonly path: string;
  /** What the task has written so far, line by line. */
  readonly lines: string[] = [];
  #reader: Socket | undefined;

  constructor(logs: string, task: string, stream: 'stdout' | 'stderr') {
    this.path = join(logs, `.${task}.${stream}.fifo`);
  }

  async open(): Promise<void> {
    rmSync(this.path, { force: true });
    await mustRun(['mkfifo', '--mode=600', this.path]);
    // Open for writing too, so that it does not end with its first writer. A socket, for libuv polls those; a file
    // would keep one of its few threads in a read.
    const reader = new Socket({ fd: openSync(this.path, constants.O_RDWR | constants.O_NONBLOCK), writable: false });
    createInterface({ input: reader }).on('line', (line) => this.lines.push(LINE.exec(line)?.[1] ?? line));
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
    rmSync(this.path, { force: true });
  }
}
