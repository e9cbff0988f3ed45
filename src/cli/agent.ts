import { Command } from 'commander';
import { DEFAULT_FILE } from '../config/config.ts';
import { processTerminal } from './terminal.ts';

const HELP = `
With --once it makes every allocation of this node what it should be, takes away what is left over, prints what it could not do,
and ends; a minute at most. It opens no gate and touches none: creates that wait at gates which systemd keeps go on waiting, and
networks are handed over only by an agent whose gate holds the create. It refuses to work beside a running agent.

Exit codes:
  0  stopped by SIGTERM or SIGINT; with --once: nothing is left to do
  1  could not start, or failed; with --once also: Nomad does not answer, or an agent runs
  2  the command line is wrong
  5  with --once: something is left to do, or Nomad has not said all`;

/**
 * `nomad-rootless agent [--once] [--config FILE]`: runs until SIGTERM or SIGINT; SIGHUP has it read its configuration again. Or makes
 * one pass over the node.
 */
export function agentCommand(): Command {
  return new Command('agent')
    .description('run the agent, as root, on a Nomad client')
    .option('--once', 'make one pass over this node, and say what is left to do')
    .option('--config <file>', `configuration file (default: ${DEFAULT_FILE}, if it is there)`)
    .addHelpText('after', HELP)
    .action(async ({ once, ...options }: { once?: true; config?: string }) => {
      if (once) {
        const { runOnce } = await import('./run-once.ts');
        process.exitCode = await runOnce(options, processTerminal);
        return;
      }
      const { runAgent } = await import('./run-agent.ts');
      await runAgent(options);
    });
}
