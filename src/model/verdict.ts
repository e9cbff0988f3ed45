import type { Allocation, Task } from './allocation.ts';
import type { Refusal } from './explanation.ts';
import { type MetaValue, podmanUserOf } from './podman-user.ts';
import { entryAllowing, type PolicyEntry } from './policy.ts';

/** What is known of a user when it is decided who runs as whom. */
export interface KnownUser {
  readonly name: string;
  readonly uid: number;
  /** Why no container must run with the user's subordinate ids, or that there are none. */
  readonly idProblem?: Refusal | undefined;
}

/** What decides who may run as whom, beside the allocation itself. */
export interface UserRules {
  readonly metaKey: string;
  /** Users below this uid are refused. */
  readonly minUid: number;
  /** Names of the users that have a gate, from the configuration. */
  readonly configured: ReadonlySet<string>;
  /** Undefined where there is none: every configured user is everybody's. */
  readonly policy: readonly PolicyEntry[] | undefined;
  /** What NSS says of each name or uid that the allocation names; undefined: no such user. */
  readonly accounts: ReadonlyMap<string | number, KnownUser | undefined>;
}

/** Whom a podman task is to run as, and why; or why it is not to run. Without `meta` the task names no user. */
export interface Verdict {
  readonly task: string;
  readonly meta: MetaValue | undefined;
  /** The user, also one who is refused; undefined where there is none of that name. */
  readonly user: KnownUser | undefined;
  /** The place in the policy of the entry that allows it, from 0. */
  readonly policyEntry: number | undefined;
  readonly refusal: Refusal | undefined;
}

/** Whom one podman task of an allocation is to run as. */
export function verdictOn(task: Task, allocation: Allocation, rules: UserRules): Verdict {
  const named = podmanUserOf(task, rules.metaKey);
  const nothing = { task: task.name, meta: undefined, user: undefined, policyEntry: undefined, refusal: undefined };
  if (!named) return nothing;
  const verdict = { ...nothing, meta: { level: named.level, value: named.value } };
  if ('problem' in named) {
    return { ...verdict, refusal: { code: 'bad_podman_user', reason: `task ${task.name}: ${named.problem}` } };
  }
  const user = rules.accounts.get(named.user);
  const asked = `task ${task.name}: ${rules.metaKey} = "${named.user}"`;
  if (!user) {
    const reason = `${asked}: there is no such user on this node`;
    return { ...verdict, refusal: { code: 'unknown_user', reason } };
  }
  const policyEntry = rules.policy && entryAllowing(rules.policy, allocation, user.name);
  return { ...verdict, user, policyEntry, refusal: refusalFor(user, asked, allocation, rules) };
}

/** Why a user may not run a task of an allocation; undefined where nothing speaks against it. @param asked how the reason begins */
export function refusalFor(
  { name, uid, idProblem }: KnownUser,
  asked: string,
  allocation: Allocation,
  { minUid, configured, policy }: UserRules,
): Verdict['refusal'] {
  if (uid === 0) {
    return { code: 'root_user', reason: `${asked} is root; rootless Podman needs an ordinary user` };
  }
  if (uid < minUid) return { code: 'uid_below_min', reason: `${asked} has uid ${uid}, below min_uid ${minUid}` };
  if (!configured.has(name)) {
    const have = [...configured].join(', ') || 'nobody';
    const reason = `${asked}: user ${name} has no gate on this node (configured: ${have}); ask the operator to add it to users in nomad-rootless's config`;
    return { code: 'user_not_configured', reason };
  }
  if (policy && entryAllowing(policy, allocation, name) === undefined) {
    const { jobId, namespace } = allocation;
    const reason = `${asked}: the policy of this node does not let job ${jobId} of namespace ${namespace} run as ${name}; ask the operator to allow it under policy in nomad-rootless's config`;
    return { code: 'not_in_policy', reason };
  }
  return idProblem && { code: idProblem.code, reason: `${asked}: ${idProblem.reason}` };
}
