import { readFileSync } from 'node:fs';

/** util-linux, where every distribution has it. */
const CHOOM = '/usr/bin/choom';
const SETSID = '/usr/bin/setsid';
const SETPRIV = '/usr/bin/setpriv';

/**
 * How to run a program as a user, with nothing of ours that would be worth something to her: she can trace it as soon as
 * it runs under her uid. It has that uid and no groups, a session of its own (so no terminal of ours to type into), and no better
 * standing with the kernel when memory runs out.
 *
 * It is root's until setpriv has been run, and the user's afterwards. With the option `uid` of node:child_process it would be
 * the user's before its program is run, for which libuv waits on the main thread: if she stopped it by a signal in between, it
 * would stop the agent for good.
 * @param hasSession whether the caller gives it a session (the option `detached` of node:child_process): one program less to run
 * @returns the program to run and its arguments; `env` and `cwd` are the caller's to give
 */
export function asUser(
  { uid, gid }: { readonly uid: number; readonly gid: number },
  argv: readonly string[],
  { hasSession = false }: { readonly hasSession?: boolean } = {},
): [program: string, args: string[]] {
  const become = process.getuid?.() === 0 ? [SETPRIV, `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--'] : [];
  const [program = '', ...args] = [...likeOthers(), ...(hasSession ? [] : [SETSID]), ...become, ...argv];
  return [program, args];
}

/** Where the kernel is to spare us more than an ordinary process, proc_pid_oom_score_adj(5), it is not to spare her. */
function likeOthers(): string[] {
  const isSpared = Number(readFileSync('/proc/self/oom_score_adj', 'utf8')) < 0;
  return isSpared ? [CHOOM, '-n', '0', '--'] : [];
}
