import { gzipSync } from 'node:zlib';
import { packTar, type TarEntry } from 'modern-tar';
import type { Clock } from '../clock.ts';
import { messageOf } from '../errors.ts';
import { redact } from '../model/redaction.ts';

/** Of one file in it. Of what is longer the end is kept: of a log that is what counts. */
const MOST_CHARACTERS = 4 * 1024 * 1024;

/** What is collected for a bug report. Nothing comes into it but through redact. */
export class Bundle {
  readonly #secrets: readonly string[];
  readonly #files = new Map<string, string>();
  readonly #missing = new Map<string, string>();

  /** @param secrets what is known to be secret */
  constructor(secrets: readonly string[]) {
    this.#secrets = secrets;
  }

  /** The names of its files. */
  get names(): readonly string[] {
    return [...this.#files.keys()];
  }

  /** What could not be had, and why, in words. */
  get missing(): ReadonlyMap<string, string> {
    return this.#missing;
  }

  /** Adds a file, or the reason why there is none. @returns what was read, undefined where it could not be */
  async add<T>(name: string, read: () => Promise<T> | T, inText: (read: T) => string): Promise<T | undefined> {
    try {
      const what = await read();
      this.put(name, inText(what));
      return what;
    } catch (error) {
      this.miss(name, messageOf(error));
      return undefined;
    }
  }

  put(name: string, text: string): void {
    // Before it is cut: half a secret is not found any more.
    const redacted = redact(text, this.#secrets);
    const cut = redacted.length - MOST_CHARACTERS;
    this.#files.set(name, cut > 0 ? `[${cut} characters left out]\n${redacted.slice(cut)}` : redacted);
  }

  miss(name: string, why: string): void {
    this.#missing.set(name, redact(why, this.#secrets));
  }

  /** The archive: tar(5), ustar, compressed by gzip. @param directory in which all files are */
  async archive(directory: string, clock: Pick<Clock, 'now'>): Promise<Uint8Array> {
    const mtime = new Date(clock.now());
    const entries = [...this.#files].map(([name, text]): TarEntry => {
      const body = Buffer.from(text);
      return { header: { name: `${directory}/${name}`, size: body.length, mode: 0o600, mtime }, body };
    });
    return gzipSync(await packTar(entries));
  }
}

/** Indented, for people. */
export function inJson(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
