import { directoryIsThere, entriesAt } from './directory.ts';
import { fileIsThere } from './read-file.ts';

/** What the agent runs on every host, of util-linux, coreutils, findutils, grep and the C library. */
export const PROGRAMS = [
  'cat',
  'choom',
  'find',
  'getent',
  'grep',
  'nsenter',
  'realpath',
  'setpriv',
  'setsid',
  'unshare',
];

/** The ones of these that are not there, by path. @throws an Error of node:fs */
export function missingPrograms(): string[] {
  return PROGRAMS.map((name) => `/usr/bin/${name}`).filter((path) => !fileIsThere(path));
}

/** The names of what lies in directories of programs, such as Nomad's cni_path; one that is not there has none. */
export function programsIn(paths: readonly string[]): ReadonlySet<string> {
  return new Set(paths.flatMap((path) => (directoryIsThere(path) ? entriesAt(path) : [])));
}
