import { Command } from 'commander';
import { DEFAULT_FILE, SECRETS } from '../config/config.ts';
import type { LoadedConfig } from '../config/load-config.ts';
import { printable } from '../printable.ts';
import { CommandError } from './command-error.ts';
import { EXIT } from './exit-code.ts';
import { renderTable } from './table.ts';
import { processTerminal, type Terminal } from './terminal.ts';

/** `nomad-rootless check-config [--config FILE] [--json]`: the effective configuration, and where each value comes from. */
export function checkConfigCommand(terminal: Terminal = processTerminal): Command {
  return new Command('check-config')
    .description('check the configuration and print what is in effect, secrets hidden')
    .option('--config <file>', `configuration file (default: ${DEFAULT_FILE}, if it is there)`)
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExit codes:\n  0  it can be used\n  1  it cannot, or not for all of its users: every problem is listed\n  2  the command line is wrong',
    )
    .action(async (options: { json?: true; config?: string }) => {
      const { loadConfig } = await import('../config/load-config.ts');
      const { complaintsAbout } = await import('../doctor/complaints.ts');
      const loaded = loadConfig({ file: options.config, env: process.env });
      const { problems, warnings } = await complaintsAbout(loaded);
      terminal.write(options.json ? configInJson(loaded, warnings) : toText(loaded, warnings));
      if (problems.length > 0) throw new CommandError(EXIT.error, 'users_unfit', problems.join('\n'));
    });
}

/** The effective configuration, and where each value comes from; secrets are hidden. */
export function configInJson({ file, values, origin }: LoadedConfig, warnings: readonly string[]): string {
  const keys = [...values].map(([key, value]) => [key, { value: shown(key, value) ?? null, origin: origin.get(key) }]);
  return `${JSON.stringify({ file: file ?? null, keys: Object.fromEntries(keys), warnings }, null, 2)}\n`;
}

function toText({ file, values, origin }: LoadedConfig, warnings: readonly string[]): string {
  const rows = [...values].map(([key, value]) => [
    key,
    inOneLine(shown(key, value) ?? whenUnset(key)),
    origin.get(key) ?? '',
  ]);
  const warned = warnings.map((warning) => `\nWarning: ${printable(warning)}`).join('');
  const table = renderTable(['KEY', 'VALUE', 'FROM'], rows);
  return `${file ?? `${DEFAULT_FILE} is not there: defaults`}\n\n${table}${warned === '' ? '' : `${warned}\n`}`;
}

function shown(key: string, value: unknown): unknown {
  return value !== undefined && SECRETS.has(key) ? '(hidden)' : value;
}

function inOneLine(value: unknown): string {
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

function whenUnset(key: string): string {
  if (key.startsWith('users.')) return '/run/user/UID/podman/podman.sock';
  if (key === 'policy') return '(every user for every job)';
  return ['nomad.data_dir', 'nomad.alloc_dir', 'nomad.node_id'].includes(key) ? '(as Nomad says)' : '(not set)';
}
