import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { openAbsoluteIfThere } from '../../../src/linux/handle.ts';
import { O } from '../../../src/linux/libc.ts';
import { getAttribute } from '../../../src/linux/xattr.ts';
import type { Environment } from '../environment.ts';
import { aclsBelow, mountsBelow, netnsFiles, socketsBelow } from '../leftovers.ts';

/** What can stay on a host of a task: ours, Nomad's or Podman's. */
export type TraceKind = 'tree' | 'mount' | 'ACL' | 'mark' | 'socket' | 'netns' | 'container';

/** One thing that is there; `what` is for people. */
export interface Trace {
  readonly kind: TraceKind;
  readonly what: string;
}

/** The mark beside each ACL of ours, src/resources/marked-acl.ts. */
const MARK = 'trusted.nomad_rootless';

/**
 * Looks at the mount namespaces of all living processes, at the data dir and at the agent's directory, and asks each
 * user's Podman. Mounts below the data dir are what users are shown of allocations and, in every namespace, Nomad's own
 * secrets/ and private/; a tree is what users are shown that in.
 */
export async function findTraces({ sandbox, nomad, agent }: Environment): Promise<Trace[]> {
  const agentDirectory = dirname(agent.gateDir);
  const mounts = [...mountsBelow(nomad.dataDir), ...mountsBelow(agentDirectory)];
  const containers = await Promise.all(
    sandbox.users.map(async (user) => (await user.podman(['ps', '--all', '--quiet'])).split('\n')),
  );
  const isTree = (path: string) => path === nomad.dataDir || path.startsWith(`${agentDirectory}/`);
  const as =
    (kind: TraceKind) =>
    (what: string): Trace => ({ kind, what });
  return [
    ...mounts.map(({ mountPoint, fsType, namespace }) =>
      as(isTree(mountPoint) ? 'tree' : 'mount')(`${fsType} on ${mountPoint} in ${namespace}`),
    ),
    ...(await aclsBelow(nomad.dataDir)).map(as('ACL')),
    ...marksBelow(nomad.dataDir).map(as('mark')),
    ...socketsBelow(agentDirectory).map(as('socket')),
    ...netnsFiles().map(as('netns')),
    ...containers
      .flat()
      .filter((id) => id !== '')
      .map(as('container')),
  ];
}

function marksBelow(directory: string): string[] {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true });
  const directories = entries
    .filter((entry) => entry.isDirectory())
    .map(({ parentPath, name }) => join(parentPath, name));
  return [directory, ...directories].filter((path) => {
    using handle = openAbsoluteIfThere(path, O.RDONLY | O.DIRECTORY);
    return handle !== undefined && getAttribute(handle, MARK) !== undefined;
  });
}
