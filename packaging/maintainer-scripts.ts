import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** By Debian's names; rpm has the same moments as %post, %preun and %postun. */
export type Moment = 'postinst' | 'prerm' | 'postrm';

/**
 * What is run at each moment, by how the package manager says which case it is. deb: Debian Policy, chapter 6; rpm: the number of
 * versions that will be there afterwards (rpm-scriptlets(7)).
 */
const CASES: Readonly<Record<'deb' | 'rpm', Readonly<Record<Moment, string>>>> = {
  deb: {
    postinst: 'case $1 in configure) after_unpacking "$2" ;; esac',
    prerm: 'case $1 in remove) before_removal ;; esac',
    postrm: 'case $1 in remove) after_removal ;; purge) purge ;; esac',
  },
  rpm: {
    postinst: 'if [ "$1" -gt 1 ]; then after_unpacking upgrade; else after_unpacking ""; fi',
    prerm: 'if [ "$1" -eq 0 ]; then before_removal; fi',
    postrm: 'if [ "$1" -eq 0 ]; then after_removal; fi',
  },
};

/** A script for the package manager to run as root: POSIX sh. */
export function maintainerScript(kind: 'deb' | 'rpm', moment: Moment): string {
  const functions = readFileSync(join(import.meta.dirname, 'maintainer/functions.sh'), 'utf8');
  const shebang = kind === 'deb' ? '#!/bin/sh\n' : '';
  return `${shebang}${functions}\n${CASES[kind][moment]}\n`;
}
