import { Command } from 'commander';
import { DEFAULT_FILE } from '../config/config.ts';
import type { DoctorOptions } from './run-doctor.ts';
import { processTerminal } from './terminal.ts';

/** `nomad-rootless doctor [--json] [--user NAME] [--config FILE]`: looks at all that tasks need, and says what mends what is not there. */
export function doctorCommand(): Command {
  return new Command('doctor')
    .description(
      "check everything that users' tasks need on this host, and print commands that fix what is wrong; changes nothing",
    )
    .option('--user <name>', 'check this user only')
    .option('--json', 'print JSON')
    .option('--config <file>', `configuration file (default: ${DEFAULT_FILE}, if it is there)`)
    .addHelpText(
      'after',
      '\nExit codes:\n  0  all is well\n  1  there are warnings: tasks run, something is not as it should be\n  2  something has failed: tasks do not run; or the command line is wrong',
    )
    .action(async (options: DoctorOptions) => {
      const { runDoctor } = await import('./run-doctor.ts');
      process.exitCode = await runDoctor(options, processTerminal);
    });
}
