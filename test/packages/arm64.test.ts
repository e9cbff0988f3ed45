import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { mustRun } from '../support/command.ts';
import { ARM64, builtPackage } from '../support/packages/built.ts';
import { requires } from '../support/requires.ts';
import { createSandbox, type Sandbox } from '../support/sandbox.ts';

const UNPACK_MS = 120_000;
/** e_machine of an ELF header: elf(5), include/uapi/linux/elf-em.h. */
const [MACHINE_AT, AARCH64] = [18, 183];

/** Not run: that takes another processor. */
requires(
  'root',
  'sandbox',
  'packages',
)('the package for Debian on arm64', () => {
  let sandbox: Sandbox;
  const deb = () => builtPackage(ARM64, '.deb');
  let unpacked: string;
  beforeAll(async () => {
    sandbox = await createSandbox({ users: [] });
    unpacked = join(sandbox.directory, 'unpacked');
    await mustRun(['dpkg-deb', '--raw-extract', deb(), unpacked]);
  }, UNPACK_MS);
  afterAll(() => sandbox?.dispose());

  const filesBelow = (directory: string) =>
    readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
  const isElf = (content: Buffer) => content.subarray(0, 4).toString('latin1') === '\x7fELF';

  test('says which it is for', async () => {
    expect((await mustRun(['dpkg-deb', '--field', deb(), 'Architecture'])).trim()).toBe('arm64');
  });

  test('has Node.js and koffi for that processor, and nothing for another', () => {
    const programs = filesBelow(unpacked).flatMap((path) => {
      const content = readFileSync(path);
      return isElf(content) ? [[path.slice(unpacked.length), content.readUInt16LE(MACHINE_AT)]] : [];
    });
    expect(programs.sort()).toEqual([
      ['/usr/lib/nomad-rootless/node', AARCH64],
      [
        expect.stringMatching(/^\/usr\/lib\/nomad-rootless\/node_modules\/@koromix\/koffi-linux-arm64\/.*\.node$/),
        AARCH64,
      ],
    ]);
  });

  test('has everything else that the one for amd64 has, but for the code cache of another V8', async () => {
    const list = async (path: string) =>
      (await mustRun(['sh', '-euc', 'dpkg-deb --fsys-tarfile "$1" | tar --list', 'sh', path]))
        .replace(/koffi-linux-x64|linux_x64/g, (name) => name.replace('x64', 'arm64'))
        .split('\n')
        .sort();
    expect(await list(deb())).toEqual(await list(builtPackage('once', '.deb')));
    const caches = filesBelow(unpacked).filter((path) => path.endsWith('.cache'));
    expect(caches.map((path) => statSync(path).size)).toEqual([0]);
  });
});
