import { NotYetError } from '../errors.ts';
import { directoryIsThere } from './directory.ts';
import { runTool } from './run-tool.ts';

const SYSTEMCTL = '/usr/bin/systemctl';
const MOST_BYTES = 64 * 1024;

/** Whether systemd has booted this host, sd_booted(3). @throws an Error of node:fs */
export function systemdIsThere(): boolean {
  return directoryIsThere('/run/systemd/system');
}

/** systemd's version. @throws NotYetError `systemd_silent` */
export async function systemdVersion(signal: AbortSignal): Promise<number> {
  return Number(/^systemd (\d+)/.exec(await systemctl(['--version'], signal))?.[1] ?? Number.NaN);
}

/**
 * Properties of a unit, as systemctl(1) `show` has them; of one that is not there, LoadState is `not-found`.
 * @throws NotYetError `systemd_silent` where systemd does not answer before the signal is aborted
 */
export async function showUnit(
  unit: string,
  properties: readonly string[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string>> {
  const output = await systemctl(['show', `--property=${properties.join(',')}`, '--', unit], signal);
  const lines = output.split('\n').filter((line) => line.includes('='));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
}

async function systemctl(args: readonly string[], signal: AbortSignal): Promise<string> {
  const { stdout, error } = await runTool(SYSTEMCTL, ['--no-pager', ...args], { signal, mostBytes: MOST_BYTES });
  if (!error) return stdout;
  throw new NotYetError('systemd_silent', `systemctl ${args.join(' ')}`, signal.aborted ? signal.reason : error);
}
