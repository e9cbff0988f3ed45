import { join } from 'node:path';
import * as z from 'zod';
import type { Clock } from '../clock.ts';
import { messageOf } from '../errors.ts';
import { makeDirectories } from '../linux/directory.ts';
import { readTextIfThere } from '../linux/read-file.ts';
import { writeWhole } from '../linux/write-file.ts';
import type { Log } from '../log.ts';
import { parseJson } from '../parse.ts';

/** What is asked of every Podman again and again. */
export type Question = 'ping' | 'info';

/** An answer of 200, as a Podman gave it: only the headers that say something of Podman. */
export interface GoodAnswer {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** The longest answer that is kept, in bytes; `info` has some 3 KiB. */
export const MAX_ANSWER_BYTES = 256 * 1024;
/** What `info` says of memory and uptime changes each time: it is not worth a write each time. */
const WRITTEN_EACH_MS = 5 * 60_000;

const Saved = z.partialRecord(
  z.enum(['ping', 'info']),
  z.object({
    headers: z.record(z.string().regex(/^[A-Za-z-]+$/), z.string().regex(/^[\x20-\x7e]*$/)),
    body: z.string(),
  }),
);

/**
 * The last good answers of all users' Podmans, in the folder `podman` of a directory, so that one that is away now can be answered for: the
 * driver calls itself unhealthy for everybody where one socket does not answer.
 */
export class LastAnswers {
  readonly #directory: string;
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #log: Log;
  readonly #known = new Map<string, Partial<Record<Question, GoodAnswer>>>();
  readonly #writtenAt = new Map<string, number>();
  readonly #news: Record<Question, PromiseWithResolvers<GoodAnswer>> = {
    ping: Promise.withResolvers(),
    info: Promise.withResolvers(),
  };

  /** @param stateDir where they are kept: made where it is not there */
  constructor(stateDir: string, { clock, log }: { clock: Pick<Clock, 'monotonic'>; log: Log }) {
    this.#directory = join(stateDir, 'podman');
    this.#clock = clock;
    this.#log = log;
  }

  /** Reads what was kept of these users, so that one can be answered for by another from the first question on. */
  load(users: Iterable<string>): void {
    for (const user of users) this.#of(user);
  }

  /** What this user's Podman last answered, or else another's on this host; undefined where none ever has. */
  find(user: string, question: Question): GoodAnswer | undefined {
    const own = this.#of(user)[question];
    if (own) return own;
    for (const answers of this.#known.values()) if (answers[question]) return answers[question];
    return undefined;
  }

  /** Resolves with the next good answer of any user's Podman. */
  next(question: Question): Promise<GoodAnswer> {
    return this.#news[question].promise;
  }

  remember(user: string, question: Question, answer: GoodAnswer): void {
    const before = this.#of(user);
    const isNews = JSON.stringify(before[question]?.headers) !== JSON.stringify(answer.headers);
    this.#known.set(user, { ...before, [question]: answer });
    this.#news[question].resolve(answer);
    this.#news[question] = Promise.withResolvers();
    const now = this.#clock.monotonic();
    if (!isNews && now - (this.#writtenAt.get(user) ?? -Infinity) < WRITTEN_EACH_MS) return;
    this.#writtenAt.set(user, now);
    try {
      makeDirectories(this.#directory, 0o700);
      writeWhole(join(this.#directory, `${user}.json`), JSON.stringify(this.#known.get(user)));
    } catch (error) {
      this.#log.warn({ user, reason: messageOf(error) }, 'cannot keep what the Podman of a user answered');
    }
  }

  #of(user: string): Partial<Record<Question, GoodAnswer>> {
    const known = this.#known.get(user);
    if (known) return known;
    const read = this.#read(user);
    this.#known.set(user, read);
    return read;
  }

  #read(user: string): Partial<Record<Question, GoodAnswer>> {
    const path = join(this.#directory, `${user}.json`);
    try {
      const text = readTextIfThere(path, 3 * MAX_ANSWER_BYTES);
      return text === undefined ? {} : parseJson(Saved, text, path);
    } catch (error) {
      this.#log.warn({ user, reason: messageOf(error) }, `cannot read ${path}; it is written again`);
      return {};
    }
  }
}
