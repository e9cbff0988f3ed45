import { runTool } from './run-tool.ts';

/** shadow's, in Debian's package uidmap and Fedora's shadow-utils-subid: root's program, with the subid module of nsswitch.conf(5). */
const GETSUBIDS = '/usr/bin/getsubids';
const MOST_BYTES = 64 * 1024;

/**
 * The ranges of subordinate ids that another source than /etc/subuid and /etc/subgid has for a user: getsubids(1) in a child,
 * as lookUpAccount does it.
 * @param name of an account that NSS knows
 * @returns undefined where it does not say: it ends in the same way for a user who has none and for a source that is away
 */
export async function askSubordinateIds(
  name: string,
  kind: 'uid' | 'gid',
  signal: AbortSignal,
): Promise<{ start: number; count: number }[] | undefined> {
  // It takes no "--", and a name from NSS may begin with a dash.
  if (name.startsWith('-')) return undefined;
  const argv = [...(kind === 'gid' ? ['-g'] : []), name];
  const { stdout, error } = await runTool(GETSUBIDS, argv, { signal, mostBytes: MOST_BYTES });
  return error ? undefined : rangesIn(stdout);
}

/** src/getsubids.c of shadow: `<number>: <owner> <start> <count>`. */
function rangesIn(text: string): { start: number; count: number }[] {
  return [...text.matchAll(/^\d+: .* (\d{1,10}) (\d{1,10})$/gm)].map(([, start, count]) => ({
    start: Number(start),
    count: Number(count),
  }));
}
