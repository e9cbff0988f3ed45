import { expect, test } from 'vitest';
import { needsOf } from '../../../src/model/user-needs.ts';
import { UserPasses } from '../../../src/reconcile/user-passes.ts';
import type { Step, UserResource } from '../../../src/resources/resource.ts';
import { ALLOCATION_ID } from '../../support/allocation-of.ts';

const ALICE = 1001;
const BOB = 1002;
const OTHER = ALLOCATION_ID.replace(/^./, 'b');

/** A resource of which each allocation lacks one thing until it has it, and each user has one thing too many. */
class Things implements UserResource {
  readonly kind = 'volume';
  readonly done: string[] = [];
  /** What planning for these waits for. */
  readonly slow = new Map<string, Promise<unknown>>();
  readonly failing = new Set<string>();

  uids(): number[] {
    return [ALICE, BOB];
  }

  neededBy(): number[] {
    return [];
  }

  async plan(id: string): Promise<Step[]> {
    await this.slow.get(id);
    if (this.failing.has(id)) throw new Error(`no ${id}`);
    return this.#step(id, false);
  }

  planRemoval({ uid }: { uid: number }): Step[] {
    return this.#step(`rest of ${uid}`, true);
  }

  #step(what: string, removes: boolean): Step[] {
    const apply = () => {
      if (this.failing.has(what)) throw new Error(`no ${what}`);
      this.done.push(what);
    };
    return this.done.includes(what) ? [] : [{ kind: this.kind, what, removes, apply }];
  }
}

function setUp() {
  const things = new Things();
  const known = { isComplete: true };
  const failures: unknown[] = [];
  const passes = new UserPasses({
    resources: [things],
    needsOf: (uid) => needsOf(uid, [], known.isComplete),
    isComplete: () => known.isComplete,
    apply: async (step) => step.apply(),
    onFailure: (error) => failures.push(error),
  });
  return { things, known, failures, passes };
}

test('a pass over a user gives each allocation what it lacks, whatever another one of hers fails by', async () => {
  const { things, passes } = setUp();
  things.failing.add(ALLOCATION_ID);
  const failing = passes.settle(ALICE, ALLOCATION_ID);
  await passes.settle(ALICE, OTHER);
  await expect(failing).rejects.toThrow(`no ${ALLOCATION_ID}`);
  expect(things.done).toEqual([OTHER]);
});

test('a user has one pass at a time, and who comes while it runs waits for the next', async () => {
  const { things, passes } = setUp();
  const slow = Promise.withResolvers<void>();
  things.slow.set(ALLOCATION_ID, slow.promise);
  const first = passes.settle(ALICE, ALLOCATION_ID);
  const second = passes.settle(ALICE, OTHER);
  await passes.settle(BOB, 'of bob');
  expect(things.done).toEqual(['of bob']);
  slow.resolve();
  await Promise.all([first, second]);
  expect(things.done).toEqual(['of bob', ALLOCATION_ID, OTHER]);
});

test('what nobody needs is taken away, and what cannot be is reported', async () => {
  const { things, passes, failures } = setUp();
  things.failing.add(`rest of ${ALICE}`);
  await passes.clear(ALICE);
  await passes.clear(BOB);
  expect([things.done, failures]).toEqual([[`rest of ${BOB}`], [new Error(`no rest of ${ALICE}`)]]);
});

test('nothing is taken away before all is known, and then it is without being asked for again', async () => {
  const { things, passes, known } = setUp();
  known.isComplete = false;
  await passes.clear(ALICE);
  passes.clearAll();
  passes.proceed();
  await passes.stop();
  expect(things.done).toEqual([]);
  const { things: others, passes: next, known: later } = setUp();
  later.isComplete = false;
  await next.clear(ALICE);
  later.isComplete = true;
  next.proceed();
  await next.stop();
  expect(others.done).toEqual([`rest of ${ALICE}`]);
});

test('what is known no longer when its turn comes takes nothing away', async () => {
  const { things, passes, known } = setUp();
  const slow = Promise.withResolvers<void>();
  things.slow.set(ALLOCATION_ID, slow.promise);
  const settled = passes.settle(ALICE, ALLOCATION_ID);
  const cleared = passes.clear(ALICE);
  known.isComplete = false;
  slow.resolve();
  await Promise.all([settled, cleared]);
  expect(things.done).toEqual([ALLOCATION_ID]);
});
