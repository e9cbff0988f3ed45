import type { Allocation, Task } from '../../src/model/allocation.ts';

export const ALLOCATION_ID = '11111111-2222-3333-4444-555555555555';
export const NODE_ID = 'aaaaaaaa-0000-0000-0000-000000000000';

const NO_FILES = { sharedVolumes: [], identityFiles: [], templates: [], dispatchPayload: '', artifacts: [] };

/** A podman task of alice's by its own meta, with nothing special about it but `fields`. */
export function taskOf(name: string, fields: Partial<Task> = {}): Task {
  return {
    name,
    driver: 'podman',
    user: '',
    meta: metaOf('alice'),
    hasOwnNetwork: false,
    volumes: [],
    ...NO_FILES,
    state: 'pending',
    ...fields,
  };
}

/** A task's own meta that names a user. */
export function metaOf(user: string): Task['meta'] {
  return { task: { podman_user: user }, group: {}, job: {} };
}

/** A new allocation of job `web` with one task `t` of alice's, with nothing special about it but `fields`. */
export function allocationOf(fields: Partial<Allocation> = {}): Allocation {
  return {
    id: ALLOCATION_ID,
    namespace: 'default',
    jobId: 'web',
    parentJobId: undefined,
    taskGroup: 'g',
    nodeId: NODE_ID,
    clientStatus: 'pending',
    modifyIndex: 1,
    networkMode: undefined,
    volumes: [],
    usesConnect: false,
    keepsDisk: false,
    tasks: [taskOf('t')],
    ...fields,
  };
}
