import { readFileSync } from 'node:fs';

/** util-linux, where every distribution has it. */
const CHOOM = '/usr/bin/choom';
const SETSID = '/usr/bin/setsid';
const SETPRIV = '/usr/bin/setpriv';

/**
 * How to run a program as a user, with nothing of ours that would be worth something to her: she can trace it as soon as
 * it is hers. It has her uid and no groups, a session of its own (so no terminal of ours to type into), and no better
 * standing with the kernel when memory runs out.
 *
 * It is root's until setpriv has been run, and hers afterwards. With the option `uid` of node:child_process it would be
 * hers before its program is run, for which libuv waits on the main thread: stopped by a signal in between, it would stop
 * the agent for good.
 * @returns the program to run and its arguments; `env` and `cwd` are the caller's to give
 */
export function asUser(
  { uid, gid }: { readonly uid: number; readonly gid: number },
  argv: readonly string[],
): [program: string, args: string[]] {
  const become = process.getuid?.() === 0 ? [SETPRIV, `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--'] : [];
  return [CHOOM, ['-n', String(oomScoreAdjustment()), '--', SETSID, ...become, ...argv]];
}

/** Ours, but never below that of an ordinary process, proc_pid_oom_score_adj(5): raising it needs no right. */
function oomScoreAdjustment(): number {
  return Math.max(0, Number(readFileSync('/proc/self/oom_score_adj', 'utf8')));
}
