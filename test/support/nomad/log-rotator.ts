import { closeSync, constants, fstatSync, openSync, readdirSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** The `logs` block of a task. */
export interface LogsSpec {
  readonly maxFiles: number;
  /** Of one file; whole numbers for a real Nomad. */
  readonly maxFileSizeMb: number;
}

/** Nomad's own. */
export const DEFAULT_LOGS: LogsSpec = { maxFiles: 10, maxFileSizeMb: 10 };

const { O_RDWR, O_CREAT, O_APPEND } = constants;

/** A task's log files `<base>.0`, `<base>.1`, …, opened by path as logmon does (client/logmon/logging/rotator.go): it follows symlinks. */
export class LogRotator {
  readonly #directory: string;
  readonly #base: string;
  readonly #maxFiles: number;
  readonly #fileSize: number;
  #index: number;
  #file: number;
  #written = 0;

  constructor(directory: string, base: string, { maxFiles, maxFileSizeMb }: LogsSpec) {
    this.#directory = directory;
    this.#base = base;
    this.#maxFiles = maxFiles;
    this.#fileSize = maxFileSizeMb * 1024 * 1024;
    this.#index = Math.max(0, ...this.#indexes());
    this.#file = this.#open();
  }

  /** Writes a line, to the next file where this one is full. @throws Error where that cannot be opened */
  write(line: string): void {
    const bytes = Buffer.from(`${line}\n`);
    if (this.#written + bytes.length > this.#fileSize && this.#written > 0) this.#next();
    writeSync(this.#file, bytes);
    this.#written += bytes.length;
  }

  close(): void {
    closeSync(this.#file);
  }

  #next(): void {
    closeSync(this.#file);
    do this.#index += 1;
    while (this.#isFull(this.#path()));
    this.#file = this.#open();
    const old = this.#indexes().sort((a, b) => a - b);
    for (const index of old.slice(0, Math.max(0, old.length - this.#maxFiles))) {
      rmSync(this.#path(index), { recursive: true, force: true });
    }
  }

  #isFull(path: string): boolean {
    const found = statSync(path, { throwIfNoEntry: false });
    return found !== undefined && (found.isDirectory() || found.size >= this.#fileSize);
  }

  #open(): number {
    const file = openSync(this.#path(), O_RDWR | O_CREAT | O_APPEND, 0o644);
    this.#written = fstatSync(file).size;
    return file;
  }

  #path(index = this.#index): string {
    return join(this.#directory, `${this.#base}.${index}`);
  }

  #indexes(): number[] {
    const prefix = `${this.#base}.`;
    return readdirSync(this.#directory, { withFileTypes: true })
      .filter((entry) => !entry.isDirectory() && entry.name.startsWith(prefix))
      .map(({ name }) => Number(name.slice(prefix.length)))
      .filter(Number.isInteger);
  }
}
