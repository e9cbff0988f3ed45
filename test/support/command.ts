import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { TIME_SCALE } from './time-scale.ts';

/** Who runs a command and with what; an undefined uid is this process's own user. */
export interface CommandOptions {
  readonly uid?: number;
  readonly gid?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Written to standard input, which is closed after it. */
  readonly input?: string;
  /** Milliseconds (times TEST_TIME_SCALE) until it is killed; 60 seconds unless told. */
  readonly timeoutMs?: number;
}

/** How a command ended; `code` is -1 where a signal ended it. */
export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a command to its end, whatever its exit code. With `uid` it runs without supplementary groups.
 * @throws Error when it cannot be started
 */
export async function runCommand(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const [program = '', ...args] = argv;
  const child = spawn(program, args, {
    stdio: 'pipe',
    timeout: (options.timeoutMs ?? 60_000) * TIME_SCALE,
    killSignal: 'SIGKILL',
    ...(options.uid === undefined ? {} : { uid: options.uid }),
    ...(options.gid === undefined ? {} : { gid: options.gid }),
    ...(options.env === undefined ? {} : { env: options.env }),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  // A command that ends without reading its input is no error of ours; its exit code tells.
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input ?? '');
  const [stdout, stderr, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit').then(([exitCode]): number => exitCode ?? -1),
  ]);
  return { code, stdout, stderr };
}

/**
 * Runs a command that has to succeed.
 * @returns its standard output
 * @throws Error with its standard error when its exit code is not 0
 */
export async function mustRun(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await runCommand(argv, options);
  if (code !== 0) throw new Error(`${argv.join(' ')}: exit code ${code}: ${stderr.trim()}`);
  return stdout;
}
