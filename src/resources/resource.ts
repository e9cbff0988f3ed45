import type { StepKind } from '../metrics.ts';
import type { Desired } from '../model/desired.ts';

/** One change on the host. `apply` either does it whole or throws; doing it twice does no harm. */
export interface Step {
  readonly kind: StepKind;
  /** For the log and for `cleanup --dry-run`: what is done to what. */
  readonly what: string;
  /** Whether it takes something away. */
  readonly removes: boolean;
  apply(): void | Promise<void>;
}

/**
 * One kind of thing that an allocation needs on this host. `plan` observes the host and says which steps are missing;
 * no steps means settled. It changes nothing itself.
 */
export interface Resource {
  readonly kind: StepKind;
  /** @throws NotYetError what cannot be observed or prepared yet, RefusedError what we will not touch */
  plan(desired: Desired): Step[] | Promise<Step[]>;
  /** What people should know of how an allocation has it, in words. */
  notes?(desired: Desired): readonly string[];
}
