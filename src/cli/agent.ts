import { Command } from 'commander';
import { DEFAULT_FILE } from '../config/config.ts';

/** `nomad-rootless agent [--config FILE]`: runs until SIGTERM or SIGINT; SIGHUP has it read its configuration again. */
export function agentCommand(): Command {
  return new Command('agent')
    .description('run the agent, as root, on a Nomad client')
    .option('--config <file>', `configuration file (default: ${DEFAULT_FILE}, if it is there)`)
    .addHelpText(
      'after',
      '\nExit codes:\n  0  stopped by SIGTERM or SIGINT\n  1  could not start, or failed\n  2  the command line is wrong',
    )
    .action(async (options: { config?: string }) => {
      const { runAgent } = await import('./run-agent.ts');
      await runAgent(options);
    });
}
