import { Command } from 'commander';
import { DEFAULT_FILE } from '../config/config.ts';
import type { DebugOptions } from './run-debug.ts';
import { processTerminal } from './terminal.ts';

const HELP = `
In it: what doctor says, the agent's status and metrics, what explain says of each allocation, the mounts that the host, the agent and
the users' Podmans see, the last lines of the log, and the configuration. Tokens and what is named or looks like a secret are removed.
Without an agent it has what can be had, and says what is missing.

Exit codes:
  0  written, also where something is missing in it
  1  an error; the message says which
  2  the command line is wrong`;

/** `nomad-rootless debug [--output FILE] [--config FILE]`: one archive for a bug report. */
export function debugCommand(): Command {
  return new Command('debug')
    .description('write an archive for a bug report, secrets removed, into a new file that only root can read')
    .option('--output <file>', 'the file to write; must not be there (default: nomad-rootless-debug-TIME.tar.gz here)')
    .option('--config <file>', `configuration file (default: ${DEFAULT_FILE}, if it is there)`)
    .addHelpText('after', HELP)
    .action(async (options: DebugOptions) => {
      const { runDebug } = await import('./run-debug.ts');
      await runDebug(options, processTerminal);
    });
}
