import { type ChildProcess, type ExecFileException, execFile } from 'node:child_process';

/** How a tool of the host ended, or was given up. */
interface ToolEnd {
  readonly stdout: string;
  readonly stderr: string;
  /** Why it is not to be believed: exit code, signal, too much output, the signal that was aborted; undefined after exit code 0. */
  readonly error: ExecFileException | undefined;
  /** Killed by then, where it was given up; the kernel may not let it end. */
  readonly child: ChildProcess;
}

/** When a tool is given up. */
interface ToolLimits {
  readonly signal: AbortSignal;
  /** Of its output. */
  readonly mostBytes: number;
}

/**
 * Runs a tool without an environment, in the root directory. What is given up is not waited for, as the option `timeout` of
 * execFile would: the kernel may not let it end. By `signal` execFile ends a child by SIGTERM, whatever its option `killSignal`
 * says, and one that somebody has stopped does not get that: so SIGKILL follows.
 * @throws an Error of node:child_process where no child can be made at all
 */
export function runTool(path: string, args: readonly string[], { signal, mostBytes }: ToolLimits): Promise<ToolEnd> {
  return new Promise((resolve) => {
    const options = { cwd: '/', env: {}, signal, maxBuffer: mostBytes } as const;
    const child = execFile(path, args, options, (error, stdout, stderr) => {
      if (error) child.kill('SIGKILL');
      resolve({ stdout, stderr, error: error ?? undefined, child });
    });
  });
}
