import type { Step } from '../resources/resource.ts';
import type { Host } from './host.ts';

/** What a sweep tells of. */
export interface SweepOptions {
  /** Takes one thing away. */
  readonly take: (step: Step) => Promise<void>;
  /** Told of each thing that could not be looked at, or not taken away. */
  readonly onFailure: (error: unknown) => void;
}

/** Takes what belongs to no allocation off this host, each thing by itself: what fails keeps nothing else there. */
export async function sweepHost({ sweeps }: Pick<Host, 'sweeps'>, { take, onFailure }: SweepOptions): Promise<void> {
  for (const plan of sweeps) {
    try {
      for (const step of await plan()) await take(step).catch(onFailure);
    } catch (error) {
      onFailure(error);
    }
  }
}
