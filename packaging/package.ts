/**
 * `node packaging/package.ts [--to DIRECTORY] [--kind deb|rpm|tarball]… [amd64|arm64]…`: makes a .deb, an .rpm and a tarball, or
 * only these, for this machine's architecture, or only those, in packages/, or the directory named. The same commit gives the same bytes: all times are SOURCE_DATE_EPOCH
 * (reproducible-builds.org), the commit's own unless set. Needs dpkg-deb, and rpmbuild (Debian's package rpm).
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { type Architecture, architectures } from './architecture.ts';
import { makeDeb } from './deb.ts';
import { makeRpm } from './rpm.ts';
import { stage } from './stage.ts';
import { makeTarball } from './tarball.ts';

const ROOT = join(import.meta.dirname, '..');
const MIB = 1024 * 1024;

const KINDS = { deb: makeDeb, rpm: makeRpm, tarball: makeTarball };

const { values, positionals } = parseArgs({
  options: { to: { type: 'string' }, kind: { type: 'string', multiple: true, default: Object.keys(KINDS) } },
  allowPositionals: true,
});
const to = resolve(values.to ?? join(ROOT, 'packages'));
const epoch = Number(process.env['SOURCE_DATE_EPOCH'] ?? git('log', '-1', '--format=%ct'));
if (!Number.isInteger(epoch)) throw new Error('SOURCE_DATE_EPOCH: expected seconds since 1970');
const strange = values.kind.find((kind) => !Object.hasOwn(KINDS, kind));
if (strange !== undefined) throw new Error(`--kind ${strange}: expected ${Object.keys(KINDS).join(', ')}`);
mkdirSync(to, { recursive: true });
for (const architecture of chosen(positionals)) {
  const scratch = mkdtempSync(join(tmpdir(), 'nomad-rootless-package-'));
  try {
    const staged = join(scratch, 'root');
    stage(staged, architecture, epoch);
    for (const [kind, make] of Object.entries(KINDS)) {
      if (!values.kind.includes(kind)) continue;
      const path = make(staged, to, architecture, epoch);
      console.log(`${path}  ${(statSync(path).size / MIB).toFixed(1)} MiB`);
    }
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

function chosen(names: readonly string[]): readonly Architecture[] {
  const all = Object.values(architectures());
  const unknown = names.find((name) => !all.some(({ debian }) => debian === name));
  if (unknown !== undefined) throw new Error(`${unknown}: expected ${all.map(({ debian }) => debian).join(' or ')}`);
  return all.filter(({ debian, node }) => (names.length === 0 ? node === process.arch : names.includes(debian)));
}

function git(...args: string[]): string {
  return execFileSync('git', args, { cwd: ROOT, encoding: 'utf8' }).trim();
}
