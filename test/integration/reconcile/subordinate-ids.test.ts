import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type IdFiles, SubordinateIds } from '../../../src/reconcile/subordinate-ids.ts';

const never = new AbortController().signal;
const ALICE = { name: 'alice', uid: 1001, gid: 1001, home: '/home/alice' };
const DAVE = { name: 'dave', uid: 1004, gid: 1004, home: '/home/dave' };
const LDAP = { name: 'ldap', uid: 170_000, gid: 170_000, home: '/home/ldap' };

describe('subordinate ids, as the host has them,', () => {
  let directory: string;
  let files: IdFiles;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'subordinate-ids-'));
    const at = (name: string) => join(directory, name);
    files = { subuid: at('u'), subgid: at('g'), passwd: at('passwd'), group: at('group'), nsswitch: at('nsswitch') };
    write('alice:100000:65536\n');
    writeFileSync(files.passwd, 'root:x:0:0:root:/root:/bin/sh\nalice:x:1001:1001::/:/bin/sh\n+::::::\nbroken\n');
    writeFileSync(files.group, 'root:x:0:\nalice:x:1001:\nbuild:x:300000:alice,dave\n');
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  function write(lines: string): void {
    for (const file of [files.subuid, files.subgid]) writeFileSync(file, lines);
  }

  test('are read, and again when a file has changed, whatever else is in it', async () => {
    const ids = new SubordinateIds(files);
    await ids.refresh(DAVE, never);
    expect(ids.problemOf(ALICE, [])).toBeUndefined();
    expect(ids.problemOf(DAVE, [])).toMatchObject({ code: 'no_subordinate_ids' });
    const { changes } = ids;
    await ids.refresh(DAVE, never);
    expect(ids.changes).toBe(changes);
    for (const file of [files.subuid, files.subgid]) {
      appendFileSync(file, `\n# a comment\n::\n${'x'.repeat(100_000)}\n\0\0:1:1\ndave:100000:65536`);
    }
    await ids.refresh(DAVE, never);
    expect(ids.changes).toBeGreaterThan(changes);
    expect(ids.problemOf(DAVE, [])?.reason).toContain('overlap those of alice');
    expect(ids.problemOf(ALICE, [])?.reason).toContain('overlap those of dave');
  });

  test('must hold no group of the host, and no account of the configuration`s users', async () => {
    const ids = new SubordinateIds(files);
    write('alice:100000:65536\ndave:165536:200000\n');
    await ids.refresh(DAVE, never);
    expect(ids.problemOf(DAVE, [])?.reason).toContain(
      'gids 165536-365535 of user dave overlap gid 300000 of group build',
    );
    expect(ids.problemOf(DAVE, [ALICE, DAVE, LDAP])?.reason).toContain('overlap uid 170000 of ldap');
    expect(ids.problemOf(ALICE, [ALICE, DAVE, LDAP])).toBeUndefined();
  });

  test('are advised to each user apart from those that others were advised', async () => {
    const ids = new SubordinateIds(files);
    await ids.refresh(DAVE, never);
    const both = [DAVE, LDAP];
    const dave = ids.judge(DAVE, both, []);
    expect(dave).toMatchObject({ problem: { code: 'no_subordinate_ids' }, counts: { uid: 0, gid: 0 } });
    expect(dave.remedy?.command).toBe('usermod --add-subuids 170001-235536 --add-subgids 170001-235536 dave');
    const ldap = ids.judge(LDAP, both, dave.remedy ? [dave.remedy.range] : []);
    expect(ldap.remedy?.command).toContain('--add-subuids 300001-365536 ');
    expect(ids.judge(ALICE, both, [])).toEqual({
      problem: undefined,
      remedy: undefined,
      counts: { uid: 65_536, gid: 65_536 },
    });
  });

  test('are none where there are no such files', async () => {
    rmSync(files.subuid);
    const ids = new SubordinateIds(files);
    await ids.refresh(ALICE, never);
    expect(ids.problemOf(ALICE, [])?.reason).toContain('no range in /etc/subuid; ask');
  });

  test('are not read from a file without bounds', async () => {
    writeFileSync(files.subuid, Buffer.alloc(16 * 1024 * 1024 + 1));
    await expect(new SubordinateIds(files).refresh(ALICE, never)).rejects.toMatchObject({ code: 'file_too_large' });
  });

  test('of another source are asked for by user, and compared among the configuration`s', async () => {
    writeFileSync(files.nsswitch, 'passwd: files sss\nsubid: sss\n');
    const asked: string[] = [];
    const ids = new SubordinateIds(files, async (name, kind) => {
      asked.push(`${name} ${kind}`);
      return name === 'bob' ? undefined : [{ start: 2_000_000, count: 65_536 }];
    });
    for (const user of [ALICE, DAVE, { ...DAVE, name: 'bob' }]) await ids.refresh(user, never);
    expect(asked).toEqual(['alice uid', 'alice gid', 'dave uid', 'dave gid', 'bob uid', 'bob gid']);
    expect(ids.problemOf(DAVE, [DAVE])).toBeUndefined();
    expect(ids.problemOf(DAVE, [ALICE, DAVE])?.reason).toContain(
      'overlap those of alice, 2000000-2065535: each could act as the other; ask the operator to have the source of subid',
    );
    // It did not say, which is not that there are none.
    expect(ids.problemOf({ ...DAVE, name: 'bob' }, [ALICE])).toBeUndefined();
    const { changes } = ids;
    await ids.refresh(ALICE, never);
    expect(ids.changes).toBe(changes);
  });
});
