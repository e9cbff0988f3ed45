import { type AllocationLeft, type OncePass, passOnce } from '../agent/pass-once.ts';
import { systemClock } from '../clock.ts';
import { loadConfig } from '../config/load-config.ts';
import { RefusedError } from '../errors.ts';
import { lockStateDir } from '../linux/state-lock.ts';
import { createLog } from '../log.ts';
import { createMetrics } from '../metrics.ts';
import { printable } from '../printable.ts';
import { VERSION } from '../version.ts';
import { fetchStatus } from './admin-client.ts';
import { CommandError } from './command-error.ts';
import { EXIT } from './exit-code.ts';
import { logFormat } from './log-format.ts';
import type { Terminal } from './terminal.ts';

/**
 * Makes one pass over this node in place of the agent, and prints what is left to do; the log goes to standard error.
 * @returns the exit code
 * @throws RefusedError `not_root`, `agent_running`, `state_dir_in_use`; as loadConfig and passOnce
 */
export async function runOnce(options: { readonly config?: string }, terminal: Terminal): Promise<number> {
  const { config } = loadConfig({ file: options.config, env: process.env });
  if (process.getuid?.() !== 0) throw new RefusedError('not_root', 'the agent must run as root; use sudo');
  process.chdir('/');
  await refuseBesideAgent(config.admin.socket);
  using _lock = lockStateDir(config.stateDir);
  const format = logFormat(config.log.format, process.stderr.isTTY ? 'terminal' : 'other');
  const log = createLog({ level: config.log.level, format }, process.stderr);
  const pass = await passOnce({ config, clock: systemClock, log, metrics: createMetrics(VERSION) });
  terminal.write(render(pass));
  return pass.left.length === 0 && pass.reasons.length === 0 ? EXIT.ok : EXIT.leftToDo;
}

/** Its state dir may be another one, where the configuration has changed since it started. */
async function refuseBesideAgent(socket: string): Promise<void> {
  try {
    await fetchStatus(socket);
  } catch (error) {
    if (error instanceof CommandError && error.exitCode === EXIT.notRunning) return;
    throw error;
  }
  throw new RefusedError(
    'agent_running',
    'the agent is running, and does all this by itself; see `nomad-rootless status`',
  );
}

function render({ allocations, left, refused, reasons }: OncePass): string {
  const done = allocations - left.length - refused.length;
  return [
    `${done} of ${allocations} allocations have what they should have; ${left.length} left, ${refused.length} refused`,
    ...reasons.map((reason) => `there may be more to do: ${reason}`),
    ...[...left, ...refused].flatMap(linesOf),
  ]
    .map((line) => `${printable(line)}\n`)
    .join('');
}

function linesOf({ id, jobId, state, why, steps }: AllocationLeft): string[] {
  const what = `${id} (${jobId ?? 'of no job any more'}): ${state}`;
  return [why === undefined ? what : `${what}: ${why}`, ...steps.map((step) => `  ${step}`)];
}
