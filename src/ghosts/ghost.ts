import type { GhostKind } from '../model/status.ts';

/** Something that an allocation which is over has left behind, as a look has found it. */
export interface Ghost {
  /** The same in each look for the same thing, and for no other. */
  readonly key: string;
  readonly kind: GhostKind;
  readonly allocationId: string;
  /** Whose it is. */
  readonly user: string;
  /** The name of a container, the path of a network namespace. */
  readonly name: string;
  readonly state: string;
  /** Why it is one, in words. */
  readonly why: string;
  /** Takes it away; doing it twice does no harm. */
  remove(): Promise<void>;
}

/** Where ghosts of one kind are looked for. */
export interface GhostSource {
  /** For the log: what is looked at. */
  readonly what: string;
  /** @throws what cannot be looked at now; an allocation that Nomad says nothing of has no ghosts */
  look(): Promise<Ghost[]>;
}
