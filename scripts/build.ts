import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { build, type Plugin } from 'esbuild';
import manifest from '../package.json' with { type: 'json' };

/**
 * `node scripts/build.ts [DIRECTORY]`: bundles the program into dist/, or the directory named, with all that it needs
 * beside it, so that the directory can be copied anywhere: nomad-rootless.mjs to run, the bundle and its code cache
 * (bundle/entry.ts), and koffi.
 *
 * The bundle is CommonJS: there what Node brings is loaded as it is asked for, see bundle/script.ts, and what the code loads by
 * import() when it needs it.
 *
 * Koffi stays a package of its own in node_modules there, as it looks for its native part next to itself. The native part
 * is there for the architectures that npm has installed: by default the one of the machine that builds.
 */
const root = join(import.meta.dirname, '..');
const modules = join(root, 'node_modules');
const dist = process.argv[2] ?? join(root, 'dist');
const program = join(dist, 'nomad-rootless.mjs');
/** V8's flags. A small young generation: the agent makes little garbage, and is one of many daemons on its host. */
const FLAGS = ['--max-semi-space-size=2'];

/** prom-client loads it, and with it TLS, for those who push their metrics. */
const withoutPushgateway: Plugin = {
  name: 'without-pushgateway',
  setup: ({ onLoad }) => onLoad({ filter: /\/prom-client\/lib\/pushgateway\.js$/ }, () => ({ contents: '' })),
};

mkdirSync(dist, { recursive: true });
const former = readdirSync(dist).filter((name) => name === 'node_modules' || name.startsWith('nomad-rootless'));
for (const name of former) rmSync(join(dist, name), { recursive: true });

await build({
  entryPoints: [join(root, 'src/main.ts')],
  outdir: dist,
  entryNames: 'nomad-rootless-[hash]',
  outExtension: { '.js': '.cjs' },
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node24',
  external: ['koffi'],
  plugins: [withoutPushgateway],
  legalComments: 'linked',
  logLevel: 'warning',
});
const [name] = readdirSync(dist).filter((file) => file.endsWith('.cjs'));
if (name === undefined) throw new Error(`expected a .cjs file in ${dist}, got none`);
const bundle = join(dist, name);
writeFileSync(bundle, inAscii(readFileSync(bundle, 'utf8')));
await build({
  entryPoints: [join(root, 'scripts/bundle/entry.ts')],
  outfile: program,
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node24',
  define: { BUNDLE: JSON.stringify(name), OLDEST_NODE: JSON.stringify(oldestNode()) },
  banner: { js: `#!/usr/bin/env -S node ${FLAGS.join(' ')}` },
  logLevel: 'warning',
});
chmodSync(program, 0o755);

const parts = ['package.json', 'LICENSE.txt', 'index.cjs', 'src/koffi/index.cjs', 'src/koffi/src/static.cjs'];
for (const part of parts) copy(join('koffi', part));
const natives = ['x64', 'arm64'].map((arch) => `@koromix/koffi-linux-${arch}`);
const installed = natives.filter((name) => existsSync(join(modules, name)));
if (installed.length === 0)
  throw new Error(`expected one of ${natives.join(', ')} in node_modules, got none: npm install`);
for (const name of installed) copy(name);

const makeCodeCache = join(root, 'scripts/bundle/make-code-cache.ts');
// A build is to give the same bytes twice. V8 seeds its hash tables by chance otherwise, and what it makes of the texts of paths
// gets into the cache: so the bundle goes by the same path there, wherever it lies. What Node has in a cache of its own
// (NODE_COMPILE_CACHE) has other functions compiled.
execFileSync(
  process.execPath,
  [...FLAGS, '--random-seed=1', '--preserve-symlinks', makeCodeCache, `/proc/self/cwd/${name}`],
  { cwd: dist, stdio: 'pipe', env: { ...process.env, NODE_DISABLE_COMPILE_CACHE: '1' } },
);
console.log(`${program}, with ${installed.join(', ')}`);

/** The major version in `engines`: `>=24`. */
function oldestNode(): string {
  const oldest = /^>=(\d+)$/.exec(manifest.engines.node)?.[1];
  if (oldest === undefined) throw new Error(`engines.node: expected >= and a number, got ${manifest.engines.node}`);
  return oldest;
}

/** esbuild leaves other characters in comments. With one of them V8 keeps the whole text in two bytes for each character. */
function inAscii(text: string): string {
  return text.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

function copy(path: string): void {
  const to = join(dist, 'node_modules', path);
  mkdirSync(dirname(to), { recursive: true });
  cpSync(join(modules, path), to, { recursive: true });
}
