import { execFileSync } from 'node:child_process';
import { hash } from 'node:crypto';
import { chmodSync, lstatSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Architecture } from './architecture.ts';
import { maintainerScript } from './maintainer-scripts.ts';
import { PACKAGE } from './package-facts.ts';
import { type StagedFile, stagedFiles } from './staged-files.ts';

/**
 * What the binaries of Node.js and koffi are linked to, and of which version at the least (GLIBC_2.28, GLIBCXX_3.4.21). The programs
 * that the agent runs are of packages that are essential in Debian: util-linux, coreutils, findutils, grep, libc-bin.
 */
const DEPENDS = ['libc6 (>= 2.28)', 'libgcc-s1', 'libstdc++6 (>= 5.2)'];
/** Rootless Podman in the users' systemd; what `setup` runs. An operator may have Podman from elsewhere. */
const RECOMMENDS = ['podman', 'uidmap', 'passwd', 'systemd', 'libpam-systemd', 'dbus-user-session'];
const SUGGESTS = ['nomad', 'nomad-driver-podman', 'containernetworking-plugins'];
/** Level 12 takes twice as long for one percent. */
const COMPRESSION = ['-Zzstd', '-z9', '--threads-max=1'];

/** Makes the .deb of what is staged; deb(5), deb-control(5), deb-conffiles(5). @returns its path, in the directory `to` */
export function makeDeb(staged: string, to: string, { debian }: Architecture, epoch: number): string {
  const control = join(staged, 'DEBIAN');
  const files = stagedFiles(staged).filter(({ kind }) => kind === 'file');
  const installedKib = Math.ceil(files.reduce((sum, file) => sum + lstatSync(file.path).size, 0) / 1024);
  mkdirSync(control);
  try {
    writeFileSync(join(control, 'control'), controlFile(debian, installedKib));
    writeFileSync(join(control, 'conffiles'), `${PACKAGE.configFile}\n`);
    writeFileSync(join(control, 'md5sums'), sumsOf(files));
    for (const name of ['postinst', 'prerm', 'postrm'] as const) {
      writeFileSync(join(control, name), maintainerScript('deb', name));
      chmodSync(join(control, name), 0o755);
    }
    for (const name of ['control', 'conffiles', 'md5sums']) chmodSync(join(control, name), 0o644);
    chmodSync(control, 0o755);
    const path = join(to, `${PACKAGE.name}_${PACKAGE.version}_${debian}.deb`);
    const made = `${path}.part`;
    execFileSync('dpkg-deb', ['--root-owner-group', ...COMPRESSION, '--build', staged, made], {
      stdio: 'pipe',
      env: { ...process.env, SOURCE_DATE_EPOCH: String(epoch) },
    });
    renameSync(made, path);
    return path;
  } finally {
    rmSync(control, { recursive: true });
  }
}

function controlFile(architecture: string, installedKib: number): string {
  return `Package: ${PACKAGE.name}
Version: ${PACKAGE.version}
Architecture: ${architecture}
Maintainer: the authors of nomad-rootless <nomad-rootless@localhost>
Installed-Size: ${installedKib}
Depends: ${DEPENDS.join(', ')}
Recommends: ${RECOMMENDS.join(', ')}
Suggests: ${SUGGESTS.join(', ')}
Section: admin
Priority: optional
Description: ${PACKAGE.summary}
${PACKAGE.description.map((line) => ` ${line}\n`).join('')}`;
}

function sumsOf(files: readonly StagedFile[]): string {
  const kept = files.filter(({ installed }) => installed !== PACKAGE.configFile);
  return kept.map(({ path, installed }) => `${hash('md5', readFileSync(path))}  ${installed.slice(1)}\n`).join('');
}
