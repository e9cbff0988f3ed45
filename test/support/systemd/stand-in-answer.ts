import type { TaskEvent } from '../nomad/recorded.ts';

/** What the stand-in in a machine says of its driver: for each look at its sockets what was wrong with them. */
export interface DriverAnswer {
  readonly rounds: (readonly string[])[];
}

/** What it says of an allocation. */
export interface AllocationAnswer {
  readonly status: string;
  readonly events: Readonly<Record<string, readonly TaskEvent[]>>;
}
