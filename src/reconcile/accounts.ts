import type { Clock } from '../clock.ts';
import { hasSubordinateIds, lookUpAccount } from '../linux/passwd.ts';
import type { KnownUser } from '../model/verdict.ts';

/** A user of this host. */
export interface HostUser extends KnownUser {
  readonly gid: number;
  readonly home: string;
}

const KEPT_MS = 30_000;

/** Looks users up through NSS and remembers the answer for half a minute: a directory service may be slow, and a lookup holds up everything else. */
export class Accounts {
  readonly #clock: Clock;
  readonly #known = new Map<string | number, { user: HostUser | undefined; until: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Looks a user up now and until the returned function is called; told of each change. */
  watch(name: string, onChange: (user: HostUser | undefined) => void): () => void {
    let last: HostUser | undefined;
    let stop: () => void = () => undefined;
    const look = () => {
      const user = this.get(name);
      if (user?.uid !== last?.uid) onChange(user);
      last = user;
      stop = this.#clock.after(1000, look);
    };
    look();
    return () => stop();
  }

  /** @throws RootlessError (code nss) where the name service fails */
  get(nameOrUid: string | number): HostUser | undefined {
    const known = this.#known.get(nameOrUid);
    if (known?.user && known.until > this.#clock.monotonic()) return known.user;
    const account = lookUpAccount(nameOrUid);
    const user = account && { ...account, hasSubordinateIds: hasSubordinateIds(account) };
    this.#known.set(nameOrUid, { user, until: this.#clock.monotonic() + KEPT_MS });
    return user;
  }
}
