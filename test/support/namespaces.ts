import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';

const INIT = fileURLToPath(new URL('./sandbox-init.sh', import.meta.url));

/** Where everything that belongs to the throwaway namespaces lies; sandbox-init.sh makes it. */
export const SANDBOX_DIRECTORY = '/run/sandbox';

/** Whether this process runs inside the throwaway namespaces, so that it may mount, add users and kill their processes. */
export function isInNamespaces(): boolean {
  return existsSync(`${SANDBOX_DIRECTORY}/ready`);
}

/**
 * What runs a command inside new mount, network, pid, uts, ipc and cgroup namespaces, as root. It may itself run inside such
 * ones: of what it mounts, and of its users, processes and networks, neither sees the other's.
 */
export function inNamespaces(command: readonly string[]): [program: string, ...args: string[]] {
  const unshare = ['unshare', '--mount', '--net', '--pid', '--uts', '--ipc', '--cgroup', '--mount-proc'];
  return ['setpriv', '--pdeathsig', 'KILL', ...unshare, '--fork', '--kill-child', '/bin/sh', INIT, ...command];
}

/**
 * Runs a command inside new mount, network, pid, uts, ipc and cgroup namespaces, with this process's standard streams.
 * They end with this process, however it ends: nothing is left on the machine.
 * @returns the command's exit code, 128 and the signal's number where a signal ended it
 * @throws Error without root
 */
export async function runInNamespaces(command: readonly string[]): Promise<number> {
  if (process.getuid?.() !== 0) throw new Error('making the throwaway namespaces needs root');
  const [program, ...args] = inNamespaces(command);
  const child = spawn(program, args, { stdio: 'inherit' });
  const [code, signal]: [number | null, NodeJS.Signals | null] = await once(child, 'exit').then(
    ([exitCode, exitSignal]) => [exitCode, exitSignal],
  );
  return code ?? 128 + (signal ? constants.signals[signal] : 0);
}
