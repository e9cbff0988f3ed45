import { codeOf, messageOf } from '../errors.ts';
import type { GhostStatus } from '../model/status.ts';
import type { PodmanUser } from '../podman/connect.ts';
import type { GhostSource } from './ghost.ts';
import { GhostWatch, type GhostWatchOptions } from './ghost-watch.ts';

/** What it works with. */
interface GhostsOptions extends GhostWatchOptions {
  /** The users whose containers are looked at, as far as they have accounts now. @throws RootlessError (code nss) */
  readonly users: () => readonly PodmanUser[];
  readonly containersOf: (user: PodmanUser) => GhostSource;
  readonly networks: GhostSource;
}

/** The driver removes what has ended within that time, and many that end together are looked at once. */
const SETTLE_MS = 10_000;
/** A look may start a user's Podman: not all of them at the same moment. */
const STAGGER_MS = 200;

interface UserWatch {
  readonly user: PodmanUser;
  readonly watch: GhostWatch;
}

/**
 * What allocations that are over have left on this host: containers in the users' Podmans, networks that were migrated.
 * Looked for after each listing of all allocations, and when one has ended. Each user has a watch of her own.
 */
export class Ghosts {
  readonly #options: GhostsOptions;
  readonly #networks: GhostWatch;
  readonly #settleMs: number;
  #users: readonly UserWatch[] = [];

  constructor(options: GhostsOptions) {
    this.#options = options;
    this.#networks = new GhostWatch(options.networks, options);
    this.#settleMs = Math.min(SETTLE_MS, options.graceMs ?? SETTLE_MS);
  }

  /** All allocations of the node were listed. */
  lookSoon(): void {
    this.#followUsers();
    for (const [index, { watch }] of this.#users.entries()) watch.lookIn(this.#settleMs + index * STAGGER_MS);
    this.#networks.lookIn(this.#settleMs);
  }

  /** An allocation has ended. @param uids of the users it was prepared for */
  lookSoonAt(uids: Iterable<number>): void {
    const ended = new Set(uids);
    for (const { user, watch } of this.#users) if (ended.has(user.uid)) watch.lookIn(this.#settleMs);
    this.#networks.lookIn(this.#settleMs);
  }

  /** What there is now, by what the last looks have shown. */
  list(): GhostStatus[] {
    return [...this.#users.map(({ watch }) => watch), this.#networks].flatMap((watch) => watch.ghosts());
  }

  stop(): void {
    for (const { watch } of this.#users) watch.stop();
    this.#networks.stop();
    this.#users = [];
  }

  /** Users come and go, and their accounts change. */
  #followUsers(): void {
    const { users, containersOf, log, metrics } = this.#options;
    let wanted: readonly PodmanUser[];
    try {
      wanted = users();
    } catch (error) {
      metrics.errors.inc({ code: codeOf(error) });
      log.warn({ code: codeOf(error) }, `looking for ghosts: ${messageOf(error)}`);
      return;
    }
    const kept = this.#users.filter((one) => wanted.some((user) => isSame(user, one.user)));
    for (const one of this.#users) if (!kept.includes(one)) one.watch.stop();
    this.#users = wanted.map(
      (user) =>
        kept.find((one) => isSame(user, one.user)) ?? {
          user,
          watch: new GhostWatch(containersOf(user), this.#options),
        },
    );
  }
}

function isSame(a: PodmanUser, b: PodmanUser): boolean {
  return a.name === b.name && a.uid === b.uid && a.gid === b.gid && a.socket === b.socket;
}
