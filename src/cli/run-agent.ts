import { Agent } from '../agent/agent.ts';
import { systemClock } from '../clock.ts';
import { LiveConfig } from '../config/live-config.ts';
import { type LoadedConfig, loadConfig } from '../config/load-config.ts';
import { RefusedError } from '../errors.ts';
import { ServiceManager } from '../linux/service-manager.ts';
import { standardOutput } from '../linux/standard-output.ts';
import { createLog, type Log } from '../log.ts';
import { createMetrics } from '../metrics.ts';
import { VERSION } from '../version.ts';
import { logFormat } from './log-format.ts';

/**
 * Runs the agent until SIGTERM or SIGINT; SIGHUP has it read its configuration again.
 * @throws RefusedError `not_root`; as loadConfig and Agent.start do
 */
export async function runAgent(options: { readonly config?: string }): Promise<void> {
  const load = () => loadConfig({ file: options.config, env: process.env });
  const first = load();
  if (process.getuid?.() !== 0) {
    throw new RefusedError(
      'not_root',
      'the agent must run as root: it enters mount namespaces and sets ACLs for users; use sudo, or the systemd unit',
    );
  }
  process.chdir('/');
  const live = new LiveConfig(first.config, first.values);
  const { config } = live;
  const output = standardOutput(process.env);
  const log = createLog({
    // The level can change while the agent runs.
    get level() {
      return config.log.level;
    },
    format: logFormat(config.log.format, output),
    isJournal: output === 'journal',
  });
  const manager = new ServiceManager(process.env);
  const metrics = createMetrics(VERSION);
  const agent = new Agent({ config, manager, clock: systemClock, log, metrics, version: VERSION });
  const stopped = Promise.withResolvers<void>();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stopped.resolve());
  const started = agent.start();
  process.on('SIGHUP', () => void started.then(() => reload(agent, live, load, log)));
  await started;
  await stopped.promise;
  await agent.stop();
}

/** A bad file changes nothing. */
async function reload(agent: Agent, live: LiveConfig, load: () => LoadedConfig, log: Log): Promise<void> {
  try {
    const { config, values } = load();
    const late = live.replace(config, values);
    await agent.reload();
    log.info({ users: config.users.size }, 'the configuration was read again');
    if (late.length === 0) return;
    log.warn(
      { code: 'restart_needed', keys: late },
      `takes effect only when the agent starts again: ${late.join(', ')}`,
    );
  } catch (error) {
    agent.reloadFailed(error);
  }
}
