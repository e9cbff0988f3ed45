import * as z from 'zod';
import type { Clock } from '../clock.ts';
import { RootlessError } from '../errors.ts';
import { parseJson } from '../parse.ts';
import type { PodmanUser } from './connect.ts';
import { callPodman, type PodmanAnswer, type PodmanCall } from './podman-api.ts';

/** A container of a user's, as the list has it. */
export interface ListedContainer {
  /** 64 digits, base 16: a container's for good. */
  readonly id: string;
  readonly name: string;
  /** Podman's word: created, running, paused, exited, removing, … */
  readonly state: string;
}

/** The version of the API that Podman 3 to 5 all answer: the driver's. */
const API = '/v1.0.0/libpod/containers';
const LOOK_TIMEOUT_MS = 10_000;
const MOST_BYTES = 4 * 1024 * 1024;
/** What is said of so many at a time is read in some milliseconds. */
const PAGE = 100;
/** A user with more of such names costs herself that they are looked after. */
const MOST_PAGES = 100;
/** One container. */
const MOST_INSPECT_BYTES = 1024 * 1024;
/** What a container gets to end by itself, in seconds: Podman's own default. */
const STOP_SECONDS = 10;
const REMOVE_TIMEOUT_MS = 30_000;
const ID = /^[0-9a-f]{64}$/;

/** Podman has it as null where there is none (pkg/domain/entities/types, ListContainer). */
const listed = z.array(
  z.looseObject({
    Id: z.string().regex(ID),
    Names: z.array(z.string()).nullish(),
    State: z.string().default(''),
    Created: z.string().default(''),
  }),
);
/** InspectContainerData in libpod/define. */
const inspected = z.looseObject({
  Id: z.string().regex(ID),
  Mounts: z.array(z.looseObject({ Source: z.string().default('') })).nullish(),
});

/**
 * The containers of a user, by her own Podman. All that it says is believed of her own containers only; what it does is done
 * as her. Every call is bounded in time and bytes, whatever she has put there instead.
 * @throws in every method as callPodman; RootlessError `podman_error` (retryable) where Podman says no; ParseError
 */
export class Containers {
  readonly #user: PodmanUser;
  readonly #clock: Pick<Clock, 'after'>;
  readonly #signal: AbortSignal;

  /** @param signal gives up what is under way */
  constructor(user: PodmanUser, clock: Pick<Clock, 'after'>, signal: AbortSignal) {
    this.#user = user;
    this.#clock = clock;
    this.#signal = signal;
  }

  /** Those whose names match, whatever their state. @param pattern a regular expression of Go's */
  async list(pattern: string): Promise<ListedContainer[]> {
    const all = new Map<string, ListedContainer>();
    let oldest: z.output<typeof listed>[number] | undefined;
    for (let page = 0; page < MOST_PAGES; page++) {
      const containers = await this.#page(pattern, oldest?.Id);
      for (const { Id: id, Names, State } of containers) {
        all.set(id, { id, name: Names?.[0] ?? '', state: State.toLowerCase() });
      }
      // In no particular order.
      oldest = containers.toSorted((a, b) => Date.parse(a.Created) - Date.parse(b.Created))[0];
      if (containers.length < PAGE) break;
    }
    return [...all.values()];
  }

  /** The newest of those that were created before one of them. */
  async #page(pattern: string, before: string | undefined): Promise<z.output<typeof listed>> {
    const filters = JSON.stringify({ name: [pattern], ...(before === undefined ? {} : { before: [before] }) });
    const query = `all=true&limit=${PAGE}&filters=${encodeURIComponent(filters)}`;
    const answer = await this.#call('GET', `/json?${query}`, LOOK_TIMEOUT_MS, [200]);
    return parseJson(listed, answer.body.toString('utf8'), this.#where('containers'));
  }

  /** The host paths that a container mounts; undefined where it is gone. */
  async sourcesOf(id: string): Promise<string[] | undefined> {
    const answer = await this.#call('GET', `/${id}/json`, LOOK_TIMEOUT_MS, [200, 404], MOST_INSPECT_BYTES);
    if (answer.status === 404) return undefined;
    const { Mounts } = parseJson(inspected, answer.body.toString('utf8'), this.#where(`container ${id}`));
    return (Mounts ?? []).map(({ Source }) => Source);
  }

  /** Stops a container where it runs, by force after 10 s, and removes it with its anonymous volumes, as the driver does. */
  async remove({ id, state }: Pick<ListedContainer, 'id' | 'state'>): Promise<void> {
    const stop = `/${id}/stop?timeout=${STOP_SECONDS}&ignore=true`;
    if (state === 'running') await this.#call('POST', stop, REMOVE_TIMEOUT_MS, [204, 304, 404]);
    await this.#call('DELETE', `/${id}?force=true&volumes=true`, REMOVE_TIMEOUT_MS, [200, 204, 404]);
  }

  async #call(
    method: PodmanCall['method'],
    path: string,
    timeoutMs: number,
    expected: readonly number[],
    maxBytes = MOST_BYTES,
  ): Promise<PodmanAnswer> {
    const call = { method, target: `${API}${path}`, timeoutMs, maxBytes, signal: this.#signal };
    const answer = await callPodman(this.#user, call, this.#clock);
    if (expected.includes(answer.status)) return answer;
    const said = answer.body.toString('utf8', 0, 300).trim();
    const message = `${method} ${call.target} at the Podman of user ${this.#user.name}: ${answer.status} ${said}`;
    throw new RootlessError(message, { code: 'podman_error', retryable: true });
  }

  #where(what: string): string {
    return `the Podman of user ${this.#user.name}: ${what}`;
  }
}
