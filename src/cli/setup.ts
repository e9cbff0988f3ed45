import { Command } from 'commander';
import { DEFAULT_FILE } from '../config/config.ts';
import type { SetupOptions } from './run-setup.ts';
import { processTerminal } from './terminal.ts';

/** `nomad-rootless setup [--dry-run] [--undo] [--config FILE] USER…`: does for users what doctor asks for. */
export function setupCommand(): Command {
  return new Command('setup')
    .description(
      'give users what their tasks need: subordinate ids, linger, the Podman socket, an entry in the configuration',
    )
    .argument('<user...>', 'accounts of this host')
    .option('--dry-run', 'only print what it would do')
    .option('--undo', 'undo what it has done for these users')
    .option('--config <file>', `configuration file (default: ${DEFAULT_FILE})`)
    .addHelpText(
      'after',
      '\nExit codes:\n  0  done\n  1  an error; the message says which, and what was done until then stays\n  2  the command line is wrong',
    )
    .action(async (users: string[], options: SetupOptions) => {
      const { runSetup } = await import('./run-setup.ts');
      await runSetup([...new Set(users)], options, processTerminal);
    });
}
