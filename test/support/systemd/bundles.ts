import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { mustRun } from '../command.ts';

const PROJECT = fileURLToPath(new URL('../../..', import.meta.url));
const SOURCES = ['src', 'scripts', 'tsconfig.json'];
const Package = z.looseObject({ version: z.string() });

/** The bundle of this project, and that of a later version of it. */
export type BundleName = 'this' | 'next';

/** What the later version says that it is. */
export const NEXT_VERSION = '9.9.9';

/** Builds both into a directory, by their names, as `npm run build` does. */
export async function buildBundles(directory: string): Promise<void> {
  mkdirSync(directory);
  await build(PROJECT, join(directory, 'this'));
  const next = mkdtempSync(join(directory, 'next-sources-'));
  for (const name of SOURCES) cpSync(join(PROJECT, name), join(next, name), { recursive: true });
  symlinkSync(join(PROJECT, 'node_modules'), join(next, 'node_modules'));
  const manifest = Package.parse(JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8')));
  writeFileSync(join(next, 'package.json'), JSON.stringify({ ...manifest, version: NEXT_VERSION }));
  await build(next, join(directory, 'next'));
  rmSync(next, { recursive: true });
}

async function build(project: string, bundle: string): Promise<void> {
  await mustRun([process.execPath, join(project, 'scripts/build.ts'), bundle]);
}
