import { Command } from 'commander';
import { Agent } from '../agent/agent.ts';
import { systemClock } from '../clock.ts';
import { DEFAULT_FILE, loadConfig } from '../config/load-config.ts';
import { RefusedError } from '../errors.ts';
import { createLog } from '../log.ts';
import { createMetrics } from '../metrics.ts';
import { VERSION } from '../version.ts';

/** `nomad-rootless agent [--config FILE]`: runs until SIGTERM or SIGINT. */
export function agentCommand(): Command {
  return new Command('agent')
    .description('run the agent, as root, on a Nomad client')
    .option('--config <file>', `configuration file (default: ${DEFAULT_FILE}, if it is there)`)
    .addHelpText(
      'after',
      '\nExit codes:\n  0  stopped by SIGTERM or SIGINT\n  1  could not start, or failed\n  2  the command line is wrong',
    )
    .action(async (options: { config?: string }) => {
      const { config } = loadConfig({ file: options.config, env: process.env });
      if (process.getuid?.() !== 0) {
        throw new RefusedError(
          'not_root',
          'the agent must run as root: it enters mount namespaces and sets ACLs for users',
        );
      }
      process.chdir('/');
      const log = createLog(config.log);
      const agent = new Agent({ config, clock: systemClock, log, metrics: createMetrics(VERSION), version: VERSION });
      const stopped = Promise.withResolvers<void>();
      for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stopped.resolve());
      await agent.start();
      await stopped.promise;
      await agent.stop();
    });
}
