import { posix } from 'node:path';
import type { Allocation, Task, Template } from './allocation.ts';
import type { Refusal } from './explanation.ts';

/** The only directory of a task's that Nomad fills and its container cannot write. */
const SECRETS = 'secrets';

/**
 * Why an allocation would have Nomad's root look up names where a container can put a symlink, outside of the sandboxes that
 * Nomad has for that; undefined where it would not. Nomad does so again while the task runs, or for the next allocation: a
 * container would have it write, or read, a file of the host. docs/threat-model.md says where in Nomad (S2, T2, T3, D1).
 * @param tasks those that run in the Podman of users
 * @param userCount of these users
 */
export function rootPathRefusal(
  { keepsDisk }: Pick<Allocation, 'keepsDisk'>,
  tasks: readonly Task[],
  userCount: number,
): Refusal | undefined {
  for (const { name, identityFiles, templates, dispatchPayload } of tasks) {
    const identity = identityFiles.find((path) => !isInSecrets(path));
    if (identity !== undefined) {
      const reason = `task ${name}: an identity is written to filepath = ${JSON.stringify(identity)}, where its container could lead Nomad's root elsewhere by a symlink; use a path below secrets/`;
      return { code: 'unsafe_identity', reason };
    }
    const environment = templates.find((one) => one.isEnvironment && !isInSecrets(one.destination));
    if (environment) {
      const reason = `task ${name}: Nomad's root reads the template with env = true back from ${JSON.stringify(environment.destination)}, where the container could lead it elsewhere by a symlink; use a destination below secrets/`;
      return { code: 'unsafe_template', reason };
    }
    const shared = userCount > 1 && templates.find((one) => !staysInSecrets(one));
    if (shared) {
      const reason = `task ${name}: the tasks of the group run as several users, and its template ${JSON.stringify(shared.destination)} could be led into the tasks of another one by a symlink; keep source and destination below secrets/, or use one podman_user for the group`;
      return { code: 'unsafe_template', reason };
    }
    if (keepsDisk && dispatchPayload !== '') {
      const reason = `task ${name}: with an ephemeral_disk that is sticky or migrated, Nomad's root writes the payload of a dispatch into what an earlier container left in local/, symlinks included; leave out one of the two`;
      return { code: 'unsafe_dispatch_payload', reason };
    }
  }
  return undefined;
}

function staysInSecrets({ source, destination }: Template): boolean {
  return isInSecrets(destination) && (source === '' || isInSecrets(source));
}

/** A path from the directory of the task on, which is the root of the container's paths too: /secrets/x is secrets/x. */
function isInSecrets(path: string): boolean {
  const plain = path.replace(/^\$\{NOMAD_SECRETS_DIR\}(?=\/)/, SECRETS);
  if (plain.includes('${')) return false;
  return posix.normalize(plain).replace(/^\/+/, '').startsWith(`${SECRETS}/`) && !plain.endsWith('/');
}
