import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PROGRAMS } from '../src/linux/programs.ts';
import type { Architecture } from './architecture.ts';
import { maintainerScript } from './maintainer-scripts.ts';
import { PACKAGE } from './package-facts.ts';
import { stagedFiles } from './staged-files.ts';

/** Directories that are ours; the others belong to packages of the distribution. */
const OURS = /(^|\/)nomad-rootless(\/|$)/;
/** rpmbuild strips binaries and rewrites scripts otherwise, and adds links by build id for debuggers. */
const AS_STAGED = ['__os_install_post %{nil}', 'debug_package %{nil}', '_build_id_links none'];

/** Makes the .rpm of what is staged, by rpmbuild. @returns its path, in the directory `to` */
export function makeRpm(staged: string, to: string, { rpm }: Architecture, epoch: number): string {
  const scratch = mkdtempSync(join(to, '.rpm-'));
  try {
    const spec = join(scratch, 'nomad-rootless.spec');
    writeFileSync(spec, specFile(staged));
    mkdirSync(join(scratch, 'rpms'));
    const macros = {
      _topdir: scratch,
      _rpmdir: join(scratch, 'rpms'),
      _rpmfilename: 'made.rpm',
      _binary_payload: 'w9.zstdio',
      _buildhost: 'reproducible',
      use_source_date_epoch_as_buildtime: '1',
      clamp_mtime_to_source_date_epoch: '1',
      staged,
    };
    const defines = Object.entries(macros).flatMap(([name, value]) => ['--define', `${name} ${value}`]);
    execFileSync('rpmbuild', ['-bb', '--quiet', '--target', `${rpm}-linux`, ...defines, spec], {
      stdio: 'pipe',
      env: { ...process.env, SOURCE_DATE_EPOCH: String(epoch) },
    });
    const path = join(to, `${PACKAGE.name}-${PACKAGE.version}-1.${rpm}.rpm`);
    renameSync(join(scratch, 'rpms/made.rpm'), path);
    return path;
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

/** The libraries that the binaries are linked to are found by rpmbuild itself. */
function specFile(staged: string): string {
  return `${AS_STAGED.map((macro) => `%global ${macro}\n`).join('')}
Name: ${PACKAGE.name}
Version: ${PACKAGE.version}
Release: 1
Summary: ${PACKAGE.summary}
License: ${PACKAGE.license} AND MIT
${PROGRAMS.map((name) => `Requires: /usr/bin/${name}\n`).join('')}Recommends: podman
Recommends: /usr/bin/newuidmap

%description
${PACKAGE.description.join('\n')}

%install
cp --archive %{staged}/. %{buildroot}/

%post
${maintainerScript('rpm', 'postinst')}
%preun
${maintainerScript('rpm', 'prerm')}
%postun
${maintainerScript('rpm', 'postrm')}
%files
%defattr(-,root,root,-)
${fileList(staged).join('\n')}
`;
}

function fileList(staged: string): readonly string[] {
  return stagedFiles(staged).flatMap(({ installed, kind }) => {
    if (installed === PACKAGE.configFile) return [`%config(noreplace) %attr(0600,root,root) ${installed}`];
    if (kind !== 'directory') return [installed];
    return OURS.test(installed) ? [`%dir ${installed}`] : [];
  });
}
