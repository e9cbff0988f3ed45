import { randomBytes } from 'node:crypto';
import * as z from 'zod';
import type { Clock } from '../clock.ts';
import { NotYetError, ParseError, RefusedError } from '../errors.ts';
import { parseJson } from '../parse.ts';
import { callPodman } from '../podman/podman-api.ts';
import type { UserPodman } from '../podman/user-podman.ts';
import { MAX_LONG_DOCUMENT_BYTES } from './document.ts';

/** A pull, or a look-up, of an image that went through a gate. */
export interface AskedImage {
  readonly user: string;
  readonly reference: string;
  /** Of a pull: reference, tlsVerify and platform, percent-encoded. */
  readonly query: string;
}

interface Known extends AskedImage {
  readonly isPlaceholder: boolean;
  /** Why this user's Podman could not pull it. */
  readonly failure?: RefusedError | undefined;
  readonly at: number;
}

/** A start that joined another's pull comes for its container within seconds of the pull's end. */
const KEPT_MS = 10 * 60_000;
/** Of a user, whose Podman says what it likes of what it has pulled, and whose starts can fail all day. */
const MOST_KEPT = 1000;
const LOOK_MS = 10_000;
/** The driver's own limit, image_pull_timeout, is five minutes unless the job says more. */
const PULL_MS = 60 * 60_000;
/** A line for each layer, of which there are 127 at most. */
const MAX_REPORT_BYTES = 256 * 1024;

/**
 * Which image ids the gates have seen. The driver makes one pull of what several tasks pull at a time, by the image's name
 * alone: of two users who start the same new image only one's Podman gets it (driver.go, pullGroup). And where a user's
 * Podman cannot be reached, or cannot pull, the driver is given the id of no image, a placeholder, so that it goes on to the
 * create, whose answer is the one that it shows; an error of the pull would be the other users', too.
 */
export class Images {
  readonly #clock: Clock;
  /** By user, then by id, the oldest first. */
  readonly #known = new Map<string, Map<string, Known>>();
  readonly #pulling = new Map<string, Promise<string>>();
  /** By user, when each name was last asked for, the oldest first. */
  readonly #asked = new Map<string, Map<string, number>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A task of a user's is to have an image of this name. */
  asked({ user, reference }: Pick<AskedImage, 'user' | 'reference'>): void {
    const ofUser = this.#asked.get(user) ?? new Map<string, number>();
    this.#asked.set(user, ofUser);
    ofUser.delete(reference);
    ofUser.set(reference, this.#clock.monotonic());
    this.#forgetOld(ofUser, (since) => since);
  }

  /** A user's Podman has an image by a name that it was asked for, as it says or because it has just pulled it. */
  has(id: string, asked: AskedImage): void {
    this.#remember(id, { ...asked, isPlaceholder: false });
  }

  /**
   * An id that stands for an image which the user's Podman could not be asked for.
   * @param failure what this user's creates are refused with; without, they look for the image again
   */
  placeholder(asked: AskedImage, failure?: RefusedError): string {
    const id = randomBytes(32).toString('hex');
    this.#remember(id, { ...asked, isPlaceholder: true, failure });
    return id;
  }

  /**
   * Has a user's Podman pull an image, or joins a pull of it that is under way; it goes on also where nobody waits any more.
   * @param auth the driver's X-Registry-Auth, for this user's Podman alone
   * @returns its id
   * @throws RefusedError `image_pull_failed`; as callPodman
   */
  async pull(asked: AskedImage, podman: UserPodman, auth: string | undefined): Promise<string> {
    const id = await this.#join(asked, podman, auth);
    this.has(id, asked);
    return id;
  }

  /**
   * The id of the image that a create at this Podman means by `image`, where that is another one or has to be pulled first: by
   * this user's own Podman, with this user's own credentials. Where another user's has pulled what a task of this one's asked for,
   * the name counts and not the id: the other one's Podman may have said that of any image, one that this user's has among them.
   * @returns undefined where `image` is to be taken as it is
   * @throws RefusedError `image_pull_failed`, `image_changed`; NotYetError `image_pulling` once the signal is aborted; as
   * callPodman
   */
  async resolve(image: string, podman: UserPodman, signal: AbortSignal): Promise<string | undefined> {
    const known = this.#find(image, podman.name);
    if (!known) return undefined;
    if (known.isPlaceholder) {
      if (known.failure && known.user === podman.name) throw known.failure;
      const id = await this.#idOf(known.reference, podman);
      return id ?? (await this.#pullWithin(known, podman, signal));
    }
    if (known.user === podman.name) return undefined;
    if (this.#asked.get(podman.name)?.has(known.reference)) {
      if ((await this.#idOf(known.reference, podman)) === image) return undefined;
      return await this.#pullWithin(known, podman, signal);
    }
    if (await this.#idOf(image, podman)) return undefined;
    const id = await this.#pullWithin(known, podman, signal);
    if (id === image) return id;
    const message = `image ${known.reference} was pulled for user ${known.user} as ${image} and for user ${podman.name} as ${id}: it has changed in between; start the task again`;
    throw new RefusedError('image_changed', message);
  }

  #remember(id: string, known: Omit<Known, 'at'>): void {
    const at = this.#clock.monotonic();
    const ofUser = this.#known.get(known.user) ?? new Map<string, Known>();
    this.#known.set(known.user, ofUser);
    ofUser.delete(id);
    ofUser.set(id, { ...known, at });
    this.#forgetOld(ofUser, (one) => one.at);
  }

  #forgetOld<T>(ofUser: Map<string, T>, sinceOf: (one: T) => number): void {
    for (const [oldest, one] of ofUser) {
      if (this.#clock.monotonic() - sinceOf(one) < KEPT_MS && ofUser.size <= MOST_KEPT) break;
      ofUser.delete(oldest);
    }
  }

  /** What this user has asked for, or else whoever asked last. */
  #find(id: string, user: string): Known | undefined {
    const own = this.#known.get(user)?.get(id);
    if (own) return own;
    const others = [...this.#known.values()].flatMap((known) => known.get(id) ?? []);
    return others.sort((a, b) => b.at - a.at)[0];
  }

  /** @returns undefined where this user's Podman has no such image */
  async #idOf(reference: string, { user }: UserPodman): Promise<string | undefined> {
    const target = `/v1.0.0/libpod/images/${encodeURI(reference)}/json`;
    const call = { method: 'GET', target, timeoutMs: LOOK_MS, maxBytes: MAX_LONG_DOCUMENT_BYTES } as const;
    const { status, body } = await callPodman(user, call, this.#clock);
    if (status === 404) return undefined;
    if (status === 200) return parseJson(Inspected, body.toString('utf8'), target).Id;
    throw new ParseError(`${target} at the Podman of user ${user.name}`, 'status 200 or 404', `status ${status}`);
  }

  #join({ reference, query }: AskedImage, podman: UserPodman, auth?: string): Promise<string> {
    const key = `${podman.name} ${query}`;
    const known = this.#pulling.get(key);
    if (known) return known;
    const pulling = this.#startPull(reference, query, podman, auth).finally(() => this.#pulling.delete(key));
    pulling.catch(() => undefined); // whoever waits for it hears it; nobody has to
    this.#pulling.set(key, pulling);
    return pulling;
  }

  /** A pull that takes longer than the signal goes on, so that the next start finds the image. */
  async #pullWithin(asked: AskedImage, podman: UserPodman, signal: AbortSignal): Promise<string> {
    const { reference } = asked;
    const late = new NotYetError(
      'image_pulling',
      `image ${reference} is still being pulled for user ${podman.name}; start the task again in a moment`,
    );
    const aborted = new Promise<never>((_, reject) => {
      if (signal.aborted) reject(late);
      else signal.addEventListener('abort', () => reject(late), { once: true });
    });
    return await Promise.race([this.#join(asked, podman), aborted]);
  }

  async #startPull(reference: string, query: string, { user }: UserPodman, auth: string | undefined): Promise<string> {
    const target = `/v1.0.0/libpod/images/pull?${query}`;
    const headers = auth === undefined ? {} : { 'x-registry-auth': auth };
    const call = { method: 'POST', target, headers, timeoutMs: PULL_MS, maxBytes: MAX_REPORT_BYTES } as const;
    const { status, body } = await callPodman(user, call, this.#clock);
    const text = body.toString('utf8');
    // Id and error come last. A user's Podman can make the lines before as many as it likes.
    const last = text.trimEnd().split('\n').at(-1) ?? '';
    const { id, error } = status === 200 ? parseJson(Report, last, target) : { id: undefined, error: text };
    if (id !== undefined && error === undefined) return id;
    const said = error?.trim().slice(0, 1000) || `status ${status}`;
    throw new RefusedError('image_pull_failed', `cannot pull image ${reference} for user ${user.name}: ${said}`);
  }
}

const ImageId = z.string().regex(/^[0-9a-f]{64}$/);
const Inspected = z.object({ Id: ImageId });
/** pkg/domain/entities/images.go of Podman, ImagePullReport. */
const Report = z.object({ id: ImageId.optional(), error: z.string().optional() });
