import { Command } from 'commander';
import { DEFAULT_FILE } from '../config/config.ts';
import type { CleanupOptions } from './run-cleanup.ts';
import { processTerminal } from './terminal.ts';

/** `nomad-rootless cleanup [--dry-run] [--json] [--config FILE]`: takes everything of ours off this host. */
export function cleanupCommand(): Command {
  return new Command('cleanup')
    .description('remove every mount, ACL and socket of nomad-rootless from this host; the agent must be stopped')
    .option('--dry-run', 'only print what there is')
    .option('--json', 'print JSON')
    .option('--config <file>', `configuration file (default: ${DEFAULT_FILE}, if it is there)`)
    .addHelpText(
      'after',
      '\nExit codes:\n  0  done\n  1  an error; the message says which\n  2  the command line is wrong',
    )
    .action(async (options: CleanupOptions) => {
      const { runCleanup } = await import('./run-cleanup.ts');
      await runCleanup(options, processTerminal);
    });
}
