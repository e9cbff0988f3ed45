import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { DOCUMENTS } from '../../../packaging/stage.ts';
import { mustRun } from '../command.ts';

const PROJECT = fileURLToPath(new URL('../../..', import.meta.url));
const SOURCES = ['src', 'scripts', 'packaging', 'tsconfig.json', 'package-lock.json', ...DOCUMENTS];
/** As good as any other. */
const EPOCH = '1700000000';
const PACKAGE_MS = 180_000;
const Package = z.looseObject({ version: z.string() });

/** The bundle of this project, and that of a later version of it. */
export type BundleName = 'this' | 'next';

/** What the later version says that it is. */
export const NEXT_VERSION = '9.9.9';

/** Builds both into a directory, by their names, as `npm run build` does, and their packages for Debian beside them, as `this.deb`. */
export async function buildBundles(directory: string): Promise<void> {
  mkdirSync(directory);
  await build(PROJECT, directory, 'this');
  const next = mkdtempSync(join(directory, 'next-sources-'));
  for (const name of SOURCES) cpSync(join(PROJECT, name), join(next, name), { recursive: true });
  symlinkSync(join(PROJECT, 'node_modules'), join(next, 'node_modules'));
  const manifest = Package.parse(JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8')));
  writeFileSync(join(next, 'package.json'), JSON.stringify({ ...manifest, version: NEXT_VERSION }));
  await build(next, directory, 'next');
  rmSync(next, { recursive: true });
}

async function build(project: string, directory: string, name: BundleName): Promise<void> {
  await mustRun([process.execPath, join(project, 'scripts/build.ts'), join(directory, name)]);
  const packages = mkdtempSync(join(directory, 'packages-'));
  const make = [process.execPath, join(project, 'packaging/package.ts'), '--kind', 'deb', '--to', packages];
  await mustRun(make, { env: { ...process.env, SOURCE_DATE_EPOCH: EPOCH }, timeoutMs: PACKAGE_MS });
  const [made = 'no package'] = readdirSync(packages);
  renameSync(join(packages, made), join(directory, `${name}.deb`));
  rmSync(packages, { recursive: true });
}
