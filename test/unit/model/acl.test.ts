import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Acl,
  decode,
  encode,
  equals,
  format,
  fromMode,
  onlyFor,
  permissionsOf,
  withoutUser,
  withUser,
} from '../../../src/model/acl.ts';
import { changeOf, formatMark, type MarkedAcl, parseMark, type WantedAcl } from '../../../src/model/acl-change.ts';

const bits = fc.integer({ min: 0, max: 7 });
const uid = fc.integer({ min: 1, max: 2 ** 32 - 2 });
const entries = fc.array(fc.tuple(uid, bits), { maxLength: 5 }).map((list) => new Map(list));
const anyAcl: fc.Arbitrary<Acl> = fc
  .record({ owner: bits, users: entries, group: bits, groups: entries, mask: bits, other: bits })
  .map((acl) => (acl.users.size + acl.groups.size === 0 ? { ...acl, mask: undefined } : acl));
const uids = fc.uniqueArray(uid, { maxLength: 4 }).map((list) => new Set(list));
const anyWanted: fc.Arbitrary<WantedAcl> = fc.oneof(
  uids.map((only) => ({ only })),
  entries.map((added) => ({ added })),
);

describe('a POSIX ACL', () => {
  test('is encoded as the kernel has it', () => {
    const bytes = encode(onlyFor([1001]));
    const entry = (tag: string, perm: string, id: string) => tag + perm + id;
    const none = 'ffffffff';
    expect(bytes.toString('hex')).toBe(
      `02000000${entry('0100', '0700', none)}${entry('0200', '0500', 'e9030000')}${entry('0400', '0000', none)}${entry('1000', '0500', none)}${entry('2000', '0000', none)}`,
    );
  });

  test('reads back as it was written', () => {
    fc.assert(
      fc.property(anyAcl, (acl) => {
        expect(decode(encode(acl))).toEqual(acl);
      }),
    );
  });

  test('of bytes that are none is undefined', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        const acl = decode(Buffer.from(bytes));
        expect(acl === undefined || bytes[0] === 2).toBe(true);
      }),
    );
  });

  test('gains an entry without giving anybody else more or less', () => {
    fc.assert(
      fc.property(anyAcl, uid, bits, uid, (acl, added, permissions, somebody) => {
        const after = withUser(acl, added, permissions);
        expect(permissionsOf(after, added)).toBe(permissions);
        for (const other of [somebody, ...acl.users.keys()].filter((one) => one !== added)) {
          expect(permissionsOf(after, other)).toBe(permissionsOf(acl, other));
        }
      }),
    );
  });

  test('without its only named entry is a mode again', () => {
    expect(format(withoutUser(withUser(fromMode(0o700), 1001, 1), 1001))).toBe(format(fromMode(0o700)));
  });
});

describe('a change of an ACL', () => {
  const unmarked = (acl: Acl): MarkedAcl => ({ acl, mark: undefined });

  test('is not needed a second time', () => {
    fc.assert(
      fc.property(anyAcl, anyWanted, (acl, wanted) => {
        const changed = changeOf(unmarked(acl), wanted) ?? unmarked(acl);
        expect(changeOf(changed, wanted)).toBeUndefined();
      }),
    );
  });

  test('is undone completely from its mark, whatever was wanted in between', () => {
    const plain = fc.integer({ min: 0, max: 0o777 }).map(fromMode);
    fc.assert(
      fc.property(plain, fc.array(anyWanted, { maxLength: 5 }), (acl, wishes) => {
        let state = unmarked(acl);
        for (const wanted of wishes) state = changeOf(state, wanted) ?? state;
        state = changeOf(state, { added: new Map() }) ?? state;
        expect(state.mark).toBeUndefined();
        expect(equals(state.acl, acl)).toBe(true);
      }),
    );
  });

  test('keeps an entry that the operator made', () => {
    const byOperator = withUser(fromMode(0o700), 1001, 5);
    expect(changeOf(unmarked(byOperator), { added: new Map([[1001, 0]]) })).toBeUndefined();
  });

  test('has a mark that reads back as it was written', () => {
    fc.assert(
      fc.property(anyAcl, fc.uniqueArray(uid, { minLength: 1, maxLength: 4 }), (before, list) => {
        for (const mark of [{ kind: 'replaced', before } as const, { kind: 'added', uids: new Set(list) } as const]) {
          expect(formatMark(parseMark(formatMark(mark)))).toBe(formatMark(mark));
        }
      }),
    );
  });

  test.each(['', 'replaced', 'replaced zz', 'added', 'added x', 'something else'])('takes %j for no mark', (text) => {
    expect(parseMark(text)).toBeUndefined();
  });
});
