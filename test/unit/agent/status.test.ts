import { expect, test } from 'vitest';
import { statusOf } from '../../../src/agent/status.ts';
import type { Desired } from '../../../src/model/desired.ts';
import { newRecord } from '../../../src/reconcile/record.ts';
import { ALLOCATION_ID, allocationOf } from '../../support/allocation-of.ts';

const GONE: Desired = { kind: 'nothing', id: ALLOCATION_ID, why: 'finished' };

function columns(found: readonly ('acl' | 'view')[], desired: Desired) {
  const record = { ...newRecord(ALLOCATION_ID, 0), allocation: allocationOf(), desired, found: new Set(found) };
  const { acl, view } = statusOf(record, () => false) ?? {};
  return { acl, view };
}

test('says of what is over what a pass still found there', () => {
  expect(columns(['acl', 'view'], GONE)).toEqual({ acl: 'set', view: 'mounted' });
  expect(columns(['acl'], GONE)).toEqual({ acl: 'set', view: 'none' });
  expect(columns([], GONE)).toEqual({ acl: 'none', view: 'none' });
});
