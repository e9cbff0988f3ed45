import { posix } from 'node:path';
import type { Allocation, Task, Template } from './allocation.ts';
import type { Refusal } from './explanation.ts';

/** The only directory of a task's that Nomad fills and its container cannot write. */
const SECRETS = 'secrets';

/**
 * Why an allocation would have Nomad's root look up names where a container can put a symlink, outside of the sandboxes that
 * Nomad has for that; undefined where it would not. Nomad does so again while the task runs, or for the next allocation: a
 * container would have it write, or read, a file of the host. docs/threat-model.md says where in Nomad (S2, T2, T3, D1, A2, A5).
 * @param tasks those that run in the Podman of users
 * @param userCount of these users
 */
export function rootPathRefusal(
  { keepsDisk }: Pick<Allocation, 'keepsDisk'>,
  tasks: readonly Task[],
  userCount: number,
): Refusal | undefined {
  for (const { name, identityFiles, templates, dispatchPayload, artifacts } of tasks) {
    const identity = identityFiles.find((path) => !isInSecrets(path));
    if (identity !== undefined) {
      const reason = `task ${name}: an identity is written to filepath = ${JSON.stringify(identity)}, where its container could redirect Nomad, which is root, by a symlink; use a path below secrets/`;
      return { code: 'unsafe_identity', reason };
    }
    const environment = templates.find((one) => one.isEnvironment && !isInSecrets(one.destination));
    if (environment) {
      const reason = `task ${name}: Nomad reads the template with env = true back, as root, from ${JSON.stringify(environment.destination)}, where the container could redirect it by a symlink; use a destination below secrets/`;
      return { code: 'unsafe_template', reason };
    }
    const shared = userCount > 1 && templates.find((one) => !staysInSecrets(one));
    if (shared) {
      const reason = `task ${name}: the tasks of the group run as several users, and its template ${JSON.stringify(shared.destination)} could be led into the tasks of another one by a symlink; keep source and destination below secrets/, or use one podman_user for the group`;
      return { code: 'unsafe_template', reason };
    }
    if (!isBelow(dispatchPayload)) {
      const reason = `task ${name}: the payload of a dispatch goes to ${JSON.stringify(dispatchPayload)}, where containers could redirect Nomad, which is root, by a symlink; use a file in local/`;
      return { code: 'unsafe_dispatch_payload', reason };
    }
    const artifact = artifacts.find(isShared);
    if (artifact !== undefined) {
      const reason = `task ${name}: an artifact goes to ${JSON.stringify(artifact)}, where containers that run could redirect Nomad, which is root, by a symlink; use a destination in local/, or right below ../alloc/ another one than data and tmp`;
      return { code: 'unsafe_artifact', reason };
    }
    if (keepsDisk && dispatchPayload !== '') {
      const reason = `task ${name}: with an ephemeral_disk that is sticky or migrated, Nomad writes, as root, the payload of a dispatch into what an earlier container left in local/, symlinks included; leave out one of the two`;
      return { code: 'unsafe_dispatch_payload', reason };
    }
  }
  return undefined;
}

function staysInSecrets({ source, destination }: Template): boolean {
  return isInSecrets(destination) && (source === '' || isInSecrets(source));
}

/**
 * A path from the directory of the task on, which is the root of the container's paths too: /secrets/x is secrets/x. Joined as
 * Nomad joins it, so that what climbs out does not come back in. Nothing is interpolated: the job, and the text of a template, can
 * give any variable another value.
 */
function isInSecrets(path: string): boolean {
  return isBelow(path) && joined(path).startsWith(`${SECRETS}/`) && !path.endsWith('/');
}

/** Whether a path stays in the directory that it is joined to. */
function isBelow(path: string): boolean {
  return !path.includes('${') && joined(path) !== '..' && !joined(path).startsWith('../');
}

/** Whether a path of an artifact leads to where containers of other tasks write: out of its task, but for the top of alloc/. */
function isShared(path: string): boolean {
  if (isBelow(path)) return false;
  const [up, alloc, entry] = joined(path).split('/');
  return path.includes('${') || up !== '..' || alloc !== 'alloc' || ['data', 'tmp'].includes(entry ?? '');
}

function joined(path: string): string {
  return posix.normalize(`./${path}`);
}
