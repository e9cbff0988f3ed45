import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { mustRun } from '../support/command.ts';
import { builtPackage } from '../support/packages/built.ts';
import { requires } from '../support/requires.ts';

requires('packages')('built twice', () => {
  test.each(['.deb', '.rpm', '.tar.gz'] as const)('the %s is the same, byte for byte', (ending) => {
    const [once, again] = [builtPackage('once', ending), builtPackage('again', ending)];
    expect(readFileSync(once).equals(readFileSync(again))).toBe(true);
  });

  test('all of them hold the same', async () => {
    const once = (ending: '.deb' | '.rpm' | '.tar.gz') => builtPackage('once', ending);
    const inTar = async (tar: string[], input: string) => {
      const listed = await mustRun(['sh', '-euc', `${input} | "$@"`, 'sh', ...tar]);
      return listed.split('\n').flatMap((path) => (/[^/]$/.test(path) ? [path.replace(/^\.?\/?/, '/')] : []));
    };
    const deb = await inTar(['tar', '--list'], `dpkg-deb --fsys-tarfile ${once('.deb')}`);
    const tarball = await inTar(['tar', '--list', '--gzip'], `cat ${once('.tar.gz')}`);
    // Directories of ours too, which tar ends in a slash.
    const rpm = (await mustRun(['rpm', '--query', '--list', '--package', once('.rpm')])).trim().split('\n');
    expect(tarball.sort()).toEqual(deb.sort());
    expect(deb.filter((path) => !rpm.includes(path))).toEqual([]);
    expect(rpm.filter((path) => !deb.includes(path) && !deb.some((one) => one.startsWith(`${path}/`)))).toEqual([]);
  });
});
