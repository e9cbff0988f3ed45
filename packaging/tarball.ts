import { execFileSync } from 'node:child_process';
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import type { Architecture } from './architecture.ts';
import { PACKAGE } from './package-facts.ts';

/** Makes the tarball of what is staged, to be unpacked at /: as GNU tar's manual has it, "Making tar Archives More Reproducible". @returns its path, in the directory `to` */
export function makeTarball(staged: string, to: string, { debian }: Architecture, epoch: number): string {
  const path = join(to, `${PACKAGE.name}-${PACKAGE.version}-linux-${debian}.tar.gz`);
  const made = `${path}.part`;
  execFileSync('tar', [
    ...['--create', '--file', made, '--use-compress-program', 'gzip --no-name', '--directory', staged],
    ...['--format=gnu', '--sort=name', '--owner=0', '--group=0', '--numeric-owner', `--mtime=@${epoch}`],
    // Not the directory itself: / keeps its own mode.
    ...['etc', 'usr'],
  ]);
  renameSync(made, path);
  return path;
}
