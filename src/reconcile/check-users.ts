import { messageOf } from '../errors.ts';
import type { SubordinateRange } from '../model/subordinate-ids.ts';
import { type HostUser, lookUpHostUser, lookUpSignal } from './host-user.ts';
import { SubordinateIds } from './subordinate-ids.ts';

/**
 * Which of these users cannot run containers on this host for the subordinate ids that they have, and why, in words. Users whom
 * the host does not know are passed over: a configuration can be checked elsewhere than where it is used.
 */
export async function problemsOfUsers(names: Iterable<string>): Promise<string[]> {
  const ids = new SubordinateIds();
  const known: HostUser[] = [];
  const problems: string[] = [];
  for (const name of names) {
    try {
      const account = await lookUpHostUser(name);
      if (!account) continue;
      await ids.refresh(account, lookUpSignal());
      known.push(account);
    } catch (error) {
      problems.push(`user ${name} cannot be looked up: ${messageOf(error)}`);
    }
  }
  const promised: SubordinateRange[] = [];
  for (const account of known) {
    const { problem, remedy } = ids.judge(account, known, promised);
    if (problem) problems.push(problem.reason);
    if (remedy) promised.push(remedy.range);
  }
  return problems;
}
