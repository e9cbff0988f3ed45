import type { AgentStatus, AllocationStatus } from '../../src/model/status.ts';

/** An allocation with which all is well. */
export const ALLOCATION_STATUS: AllocationStatus = {
  id: '1a2b3c4d-0000-0000-0000-000000000000',
  namespace: 'default',
  jobId: 'web',
  taskGroup: 'front',
  users: ['alice'],
  view: 'mounted',
  acl: 'set',
  netns: 'none',
  state: 'ready',
  since: 0,
  late: false,
};

/** An agent with which all is well, and which has nothing to do. */
export const AGENT_STATUS: AgentStatus = {
  version: '1.2.3',
  nodeId: 'node-1',
  startedAt: 0,
  nomad: { connected: true },
  ready: true,
  reasons: [],
  warnings: [],
  users: [],
  allocations: [],
  ghosts: [],
  held: [],
  refusals: [],
};
