import { describe, expect, test } from 'vitest';
import {
  parseSubordinateRange,
  type SubordinateRange,
  subordinateIdProblem,
} from '../../../src/model/subordinate-ids.ts';

const ALICE = { name: 'alice', uid: 1001, gid: 1001 };
const DAVE = { name: 'dave', uid: 1004, gid: 1004 };
const REAL = [
  { name: 'root', id: 0 },
  { name: 'alice', id: 1001 },
  { name: 'dave', id: 1004 },
];

function ranges(...lines: string[]): SubordinateRange[] {
  return lines.flatMap((line) => parseSubordinateRange(line) ?? []);
}

/** What is said of dave where the files say this, of uids and gids alike. */
function problemWith(lines: string[], real: readonly { name: string; id: number }[] = REAL, of = DAVE) {
  const ids = { ranges: ranges(...lines), real };
  return subordinateIdProblem(of, { uid: ids, gid: ids, isFromFiles: true });
}

describe('subordinate ids', () => {
  test('that are nobody else`s are well, also where they border on others, or the user has two ranges over each other', () => {
    expect(problemWith(['alice:100000:65536', 'dave:165536:65536', 'bob:231072:65536'])).toBeUndefined();
    expect(problemWith(['1004:165536:65536', 'dave:200000:65536'])).toBeUndefined();
  });

  test('are missing where a file has no range, and the advice is the first range of nobody', () => {
    expect(problemWith(['alice:100000:65536', 'bob:231072:65536'])).toEqual({
      code: 'no_subordinate_ids',
      reason:
        'user dave has no range in /etc/subuid and /etc/subgid; ask the operator to run: usermod --add-subuids 165536-231071 --add-subgids 165536-231071 dave',
    });
    expect(problemWith([])?.reason).toContain('--add-subuids 100000-165535 --add-subgids 100000-165535 dave');
    const table = {
      uid: { ranges: ranges('dave:100000:65536'), real: REAL },
      gid: { ranges: [], real: REAL },
      isFromFiles: true,
    };
    expect(subordinateIdProblem(DAVE, table)?.reason).toContain(
      'no range in /etc/subgid; ask the operator to run: usermod --add-subgids 165536-231071 dave',
    );
  });

  test('whoever follows the advice has ids of nobody else`s', () => {
    const lines = ['alice:100000:65536', 'x:165537:10', 'root:1000000:1000000000'];
    const real = [...REAL, { name: 'ldap', id: 200_000 }];
    const [, first, last] = /--add-subuids (\d+)-(\d+)/.exec(problemWith(lines, real)?.reason ?? '') ?? [];
    const own = `dave:${first}:${Number(last) - Number(first) + 1}`;
    expect(own).toBe('dave:200001:65536');
    expect(problemWith([...lines, own], real)).toBeUndefined();
  });

  test.each([
    ['the same as another user`s', 'alice:100000:65536', 'dave:100000:65536', 'those of alice, 100000-165535'],
    ['of another`s last id', 'alice:100000:65536', 'dave:165535:65536', 'those of alice, 100000-165535'],
    ['around another`s', 'carol:170000:1', 'dave:165536:65536', 'those of carol, 170000-170000'],
    ['those of a uid', '4711:100000:65536', 'dave:100000:1', 'those of 4711, 100000-165535'],
    ['of a user of no account', 'gone:100000:65536', 'dave:100000:65536', 'those of gone'],
  ])('%s are refused to both, and it is said whose', (_, other, own, whose) => {
    expect(problemWith([other, own])).toMatchObject({ code: 'subordinate_ids_overlap' });
    expect(problemWith([other, own])?.reason).toContain(`overlap ${whose}`);
    const [name = ''] = other.split(':');
    const owner = { name, uid: Number(name) || 1999, gid: 1999 };
    expect(problemWith([other, own], REAL, owner)?.reason).toContain('overlap those of dave');
  });

  test('that hold a real account`s id are refused, the user`s own is none', () => {
    expect(problemWith(['dave:100000:65536'], [...REAL, { name: 'ldap', id: 100_500 }])?.reason).toContain(
      'subordinate uids 100000-165535 of user dave overlap uid 100500 of ldap',
    );
    expect(problemWith(['dave:0:65536'])?.reason).toContain('overlap uid 0 of root');
    expect(problemWith(['dave:1004:1'], REAL)).toBeUndefined();
    expect(problemWith(['dave:1002:65536'], REAL)).toBeUndefined();
  });

  test('of groups count by themselves', () => {
    const own = ranges('dave:165536:65536');
    const uid = { ranges: [...own, ...ranges('alice:100000:65536')], real: REAL };
    const gid = { ranges: [...own, ...ranges('alice:165536:10')], real: REAL };
    expect(subordinateIdProblem(DAVE, { uid, gid, isFromFiles: true })?.reason).toContain(
      'subordinate gids 165536-231071 of user dave overlap those of alice, 165536-165545: each could act as the other; ask the operator to run: systemctl stop user-1004.slice; usermod --del-subgids 165536-231071 --add-subgids 231072-296607 dave; systemctl start user@1004.service; then, as dave: podman system migrate',
    );
    expect(subordinateIdProblem(ALICE, { uid, gid, isFromFiles: true })?.reason).toContain('overlap those of dave');
  });

  test.each([
    '',
    'dave',
    'dave:1',
    'dave:1:',
    'dave:x:1',
    'dave:-1:5',
    'dave:1:0',
    'dave:1:2:3',
    'dave:4294967295:1',
    'da ve:1:1',
    `dave:${'9'.repeat(400)}:1`,
  ])('are not in the line %j', (line) => {
    expect(parseSubordinateRange(line)).toBeUndefined();
  });

  test('where all are given away there is no advice of a range', () => {
    expect(problemWith(['root:1:4294967290'])?.reason).toContain('add one of 65536 ids that nobody else has');
  });
});
