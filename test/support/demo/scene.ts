import type { Environment } from '../environment.ts';
import type { AllocationUnderTest } from '../nomad-under-test.ts';
import type { Checks } from './checks.ts';
import type { Follower } from './follow.ts';
import type { Screen } from './screen.ts';

/** What each part of the demo works with. */
export interface Scene {
  readonly environment: Environment;
  readonly follower: Follower;
  readonly screen: Screen;
  readonly checks: Checks;
}

/** One allocation of the demo, and the user that its job names. */
export interface Placed {
  readonly user: string;
  readonly jobId: string;
  readonly allocation: AllocationUnderTest;
}

/** How an allocation is called where there is little room, as Nomad's own command line does it. */
export function shortId({ allocation }: Placed): string {
  return allocation.id.slice(0, 8);
}
