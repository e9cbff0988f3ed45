import { expect, test } from 'vitest';
import { withGhosts } from '../../../src/ghosts/explain-ghosts.ts';
import type { Explanation } from '../../../src/model/explanation.ts';
import type { GhostStatus } from '../../../src/model/status.ts';
import { ALLOCATION_ID as ID } from '../../support/allocation-of.ts';

const ghost: GhostStatus = {
  kind: 'container',
  name: `web-${ID}`,
  allocationId: ID,
  user: 'alice',
  state: 'exited',
  since: 0,
  why: 'the allocation is failed',
};
const explanation: Explanation = {
  id: ID,
  namespace: 'default',
  jobId: 'web',
  taskGroup: 'g',
  metaKey: 'podman_user',
  verdict: 'finished',
  notApplied: [],
  tasks: [],
  parts: [],
};

test('what an allocation has left behind is a part of what is said of it', () => {
  const { parts } = withGhosts(ID, explanation, [ghost]) ?? {};
  const what = [`container web-${ID} of alice (exited), which stays (remove_ghosts_after: off)`];
  expect(parts).toEqual([{ kind: 'ghost', state: 'left', what }]);
});

test('what others have left behind is not', () => {
  const other = { ...ghost, allocationId: ID.replace('1', '2') };
  expect(withGhosts(ID, explanation, [other])).toBe(explanation);
  expect(withGhosts(ID, undefined, [other])).toBeUndefined();
});

test('of an allocation that Nomad does not know any more that is all there is to say', () => {
  expect(() => withGhosts(ID, undefined, [{ ...ghost, removedAt: 1 }])).toThrow(
    `Nomad knows no allocation ${ID} any more; it has left behind container web-${ID} of alice (exited), which is removed after a while`,
  );
});
