import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Architecture } from './architecture.ts';
import { commandTree } from './command-tree.ts';
import { bashCompletion } from './completions/bash.ts';
import { fishCompletion } from './completions/fish.ts';
import { zshCompletion } from './completions/zsh.ts';
import { manualPages } from './manual.ts';
import { unpackNpmPackage } from './npm-package.ts';

const ROOT = join(import.meta.dirname, '..');
/** The interpreter of the program is the Node.js beside it, whatever else is on the PATH. */
const SHEBANG = /^#!\/usr\/bin\/env -S node\b/;
const LIBRARY = 'usr/lib/nomad-rootless';
const DOC = 'usr/share/doc/nomad-rootless';
/** What lies below DOC: whatever these link to is among them. */
export const DOCUMENTS: readonly string[] = [
  ...['README.md', 'SECURITY.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'LICENSE'],
  ...['docs', 'deploy', 'examples'],
];

/**
 * Puts all that is installed into a new directory, as it lies below /; each package is made of that. All times are `epoch`, seconds
 * since 1970; modes do not depend on the umask.
 */
export function stage(directory: string, architecture: Architecture, epoch: number): void {
  mkdirSync(directory);
  const into = (path: string) => {
    const to = join(directory, path);
    mkdirSync(dirname(to), { recursive: true });
    return to;
  };
  const write = (path: string, content: string | Buffer) => writeFileSync(into(path), content);

  stageProgram(into(LIBRARY), architecture);
  mkdirSync(join(directory, 'usr/bin'));
  symlinkSync('../lib/nomad-rootless/nomad-rootless.mjs', into('usr/bin/nomad-rootless'));
  cpSync(join(ROOT, 'deploy/systemd/nomad-rootless.service'), into('usr/lib/systemd/system/nomad-rootless.service'));
  cpSync(join(ROOT, 'packaging/etc/config.yaml'), into('etc/nomad-rootless/config.yaml'));

  const tree = commandTree();
  const configExample = readFileSync(join(ROOT, 'deploy/config.example.yaml'), 'utf8');
  const date = new Date(epoch * 1000).toISOString().slice(0, 10);
  for (const [name, text] of manualPages(tree, { configExample, date })) {
    write(`usr/share/man/man${name.slice(-1)}/${name}.gz`, gzipSync(text, { level: 9 }));
  }
  write('usr/share/bash-completion/completions/nomad-rootless', bashCompletion(tree));
  write('usr/share/fish/vendor_completions.d/nomad-rootless.fish', fishCompletion(tree));
  // Debian's zsh looks in the one, zsh as it is elsewhere in the other.
  write('usr/share/zsh/site-functions/_nomad-rootless', zshCompletion(tree));
  symlinkSync('../site-functions/_nomad-rootless', into('usr/share/zsh/vendor-completions/_nomad-rootless'));

  for (const name of DOCUMENTS) cpSync(join(ROOT, name), into(join(DOC, name)), { recursive: true });
  cpSync(join(ROOT, 'packaging/copyright'), into(join(DOC, 'copyright')));
  normalize(directory, epoch);
  chmodSync(join(directory, 'etc/nomad-rootless/config.yaml'), 0o600);
}

/** The bundle, koffi for the architecture, and Node.js with its license. */
function stageProgram(to: string, { node, runtime, koffi }: Architecture): void {
  execFileSync(process.execPath, [join(ROOT, 'scripts/build.ts'), to], { stdio: 'pipe' });
  const program = join(to, 'nomad-rootless.mjs');
  const text = readFileSync(program, 'utf8');
  if (!SHEBANG.test(text)) throw new Error(`${program}: expected ${SHEBANG}, got ${text.slice(0, 80)}`);
  writeFileSync(program, text.replace(SHEBANG, `#!/${LIBRARY}/node`));

  const natives = join(to, 'node_modules/@koromix');
  rmSync(natives, { recursive: true });
  mkdirSync(natives);
  const native = join(to, 'node_modules', koffi.name);
  unpackNpmPackage(koffi, native);
  // Node.js is of glibc here.
  for (const name of readdirSync(native)) if (name.startsWith('musl')) rmSync(join(native, name), { recursive: true });

  const scratch = mkdtempSync(join(dirname(to), '.runtime-'));
  const unpacked = join(scratch, 'package');
  unpackNpmPackage(runtime, unpacked);
  cpSync(join(unpacked, 'bin/node'), join(to, 'node'));
  cpSync(join(unpacked, 'LICENSE'), join(to, 'node.LICENSE'));
  rmSync(scratch, { recursive: true });
  // Of the V8 of another architecture nothing can be made here: one that takes none compiles, and starts a little more slowly.
  if (node === process.arch) return;
  for (const name of readdirSync(to)) if (name.endsWith('.cache')) writeFileSync(join(to, name), '');
}

/** Gives everything below a directory, and that, one of two modes and one time. */
function normalize(path: string, epoch: number): void {
  const found = lstatSync(path);
  if (found.isDirectory()) for (const name of readdirSync(path)) normalize(join(path, name), epoch);
  if (!found.isSymbolicLink()) chmodSync(path, found.isDirectory() || found.mode & 0o100 ? 0o755 : 0o644);
  lutimesSync(path, epoch, epoch);
}
