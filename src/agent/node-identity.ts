import { join } from 'node:path';
import { NotYetError } from '../errors.ts';
import { readTextIfThere } from '../linux/read-file.ts';
import { isAllocationId } from '../model/allocation.ts';
import type { AgentSelf } from '../nomad/agent-self.ts';

const MAX_ID_FILE = 4096;

/**
 * Holds what Nomad says of its node against the file in which the client on this machine keeps its node's id
 * (ensureNodeID in Nomad's client/client.go). From another node's agent every allocation here would look as if it were
 * gone. Where there is no such file, as with -dev, nothing can be said.
 * @throws NotYetError `nomad_other_node`
 */
export function requireOwnNode({ nodeId, stateDir }: AgentSelf, address: string): void {
  const path = join(stateDir, 'client-id');
  const own = readTextIfThere(path, MAX_ID_FILE)?.trim();
  if (own === undefined || !isAllocationId(own) || own === nodeId) return;
  const message = `Nomad at ${address} is node ${nodeId}, but ${path} says that this machine is node ${own}: set nomad.address to the agent on this machine, or nomad.node_id`;
  throw new NotYetError('nomad_other_node', message);
}
