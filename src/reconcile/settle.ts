import { NotYetError } from '../errors.ts';
import type { Step } from '../resources/resource.ts';

/** One to apply, one to prove it settled, one more where a step made another one necessary (a view taken off to be mounted anew). */
const MOST_ROUNDS = 3;

type Plan = () => readonly Step[] | Promise<readonly Step[]>;

/**
 * Has what is missing applied, until the host shows that nothing is. @returns whether anything was
 * @throws NotYetError `not_settled`, and what planning and applying throw
 */
export async function settle(plan: Plan, apply: (steps: readonly Step[]) => Promise<void>): Promise<boolean> {
  for (let round = 1; ; round++) {
    const steps = await plan();
    if (steps.length === 0) return round > 1;
    if (round > MOST_ROUNDS)
      throw new NotYetError('not_settled', `${steps[0]?.what}: applied, but not in effect; something reverts it`);
    await apply(steps);
  }
}

/** Does each, whatever fails. @throws the first of what failed */
export async function attemptEach<T>(things: Iterable<T>, attempt: (thing: T) => Promise<unknown>): Promise<void> {
  const failures: unknown[] = [];
  for (const thing of things) await attempt(thing).catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw failures[0];
}

/** Takes what is planned away, each thing by itself: what fails keeps nothing else there. @param onFailure told of each */
export async function takeAway(
  plan: Plan,
  take: (step: Step) => Promise<void>,
  onFailure: (error: unknown) => void,
): Promise<void> {
  try {
    for (const step of await plan()) await take(step).catch(onFailure);
  } catch (error) {
    onFailure(error);
  }
}
