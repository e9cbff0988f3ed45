import { readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Names the directory in which `npm run test:packages` has built the packages twice, to what it starts. */
export const BUILT_VARIABLE = 'PACKAGES_TEST_BUILT';

/** That directory. */
export const BUILT_DIRECTORY = process.env[BUILT_VARIABLE];

/** What each build is called; both are of the same commit. */
export const BUILDS = ['once', 'again'] as const;
/** A third one: of a .deb for another processor. */
export const ARM64 = 'arm64';

/** The one package of a build whose name ends so. @throws Error where that is not one */
export function builtPackage(
  build: (typeof BUILDS)[number] | typeof ARM64,
  ending: '.deb' | '.rpm' | '.tar.gz',
): string {
  if (BUILT_DIRECTORY === undefined) throw new Error('packages are built by `npm run test:packages`');
  const directory = join(BUILT_DIRECTORY, build);
  const [name, ...others] = readdirSync(directory).filter((file) => file.endsWith(ending));
  if (name === undefined || others.length > 0)
    throw new Error(`${directory}: expected one ${ending}, got ${[name, ...others]}`);
  return join(directory, name);
}
