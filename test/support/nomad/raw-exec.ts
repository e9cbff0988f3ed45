import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, openSync } from 'node:fs';
import type { TaskDir } from './alloc-dir.ts';
import type { TaskConfig } from './container-create.ts';
import { taskEnvironment } from './task-environment.ts';

/** Starts a task without a container, in its directory, as its `user` and in its group's network, as raw_exec does. */
export function startRawExec(config: TaskConfig, taskDir: TaskDir): ChildProcess {
  const { task, stdout, stderr, network, allocDir } = config;
  const inNetwork = network ? ['nsenter', `--net=${network.netns}`] : [];
  const asUser = task.user ? ['setpriv', '--reuid', task.user, '--regid', task.user, '--init-groups'] : [];
  const [program = '', ...args] = [...inNetwork, ...asUser, task.command ?? '/bin/true', ...(task.args ?? [])];
  const outputs = [stdout, stderr].map(({ path }) => openSync(path, constants.O_WRONLY | constants.O_NONBLOCK));
  try {
    return spawn(program, args, {
      cwd: taskDir.directory,
      env: { ...process.env, ...taskEnvironment(config, { ...taskDir, alloc: allocDir.shared }) },
      stdio: ['ignore', ...outputs],
      detached: true,
    });
  } finally {
    for (const output of outputs) closeSync(output);
  }
}

/** Waits for its end. @returns the exit code, 137 where a signal ended it @throws Error when it could not be started */
export async function waitForExit(child: ChildProcess): Promise<number> {
  const [code]: (number | null)[] = await once(child, 'exit');
  return code ?? 137;
}

/** Kills it with all that it started. */
export function killRawExec(child: ChildProcess): void {
  if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
    process.kill(-child.pid, 'SIGKILL');
  }
}
