import { chmodSync, cpSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { build } from 'esbuild';

/**
 * `node scripts/build.ts [DIRECTORY]`: bundles nomad-rootless.mjs into dist/, or the directory named, with all that it
 * needs beside it, so that the directory can be copied anywhere.
 *
 * Koffi stays a package of its own in node_modules there, as it looks for its native part next to itself. The native part
 * is there for the architectures that npm has installed: by default the one of the machine that builds.
 */
const root = join(import.meta.dirname, '..');
const modules = join(root, 'node_modules');
const dist = process.argv[2] ?? join(root, 'dist');
const bundle = join(dist, 'nomad-rootless.mjs');

rmSync(join(dist, 'node_modules'), { recursive: true, force: true });
await build({
  entryPoints: [join(root, 'src/main.ts')],
  outfile: bundle,
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node24',
  external: ['koffi'],
  legalComments: 'linked',
  banner: {
    // A small young generation: the agent makes little garbage, and is one of many daemons on its host.
    // Bundled CommonJS packages call require() for what Node itself brings.
    js: "#!/usr/bin/env -S node --max-semi-space-size=2\nimport { createRequire as createBundleRequire } from 'node:module';\nconst require = createBundleRequire(import.meta.url);",
  },
  logLevel: 'warning',
});
chmodSync(bundle, 0o755);

const parts = ['package.json', 'LICENSE.txt', 'index.js', 'src/koffi/index.js', 'src/koffi/src/static.js'];
for (const part of parts) copy(join('koffi', part));
const natives = ['x64', 'arm64'].map((arch) => `@koromix/koffi-linux-${arch}`);
const installed = natives.filter((name) => existsSync(join(modules, name)));
if (installed.length === 0)
  throw new Error(`expected one of ${natives.join(', ')} in node_modules, got none: npm install`);
for (const name of installed) copy(name);
console.log(`${bundle}, with ${installed.join(', ')}`);

function copy(path: string): void {
  const to = join(dist, 'node_modules', path);
  mkdirSync(dirname(to), { recursive: true });
  cpSync(join(modules, path), to, { recursive: true });
}
