import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { AgentProcess } from '../support/agent.ts';
import { runCommand } from '../support/command.ts';
import { requires } from '../support/requires.ts';
import { Sandbox } from '../support/sandbox.ts';
import { PlayedServiceManager } from '../support/service-manager.ts';

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname;

requires('root', 'sandbox')('a state dir', () => {
  let sandbox: Sandbox;
  let agent: AgentProcess;
  beforeEach(() => {
    sandbox = new Sandbox();
    agent = new AgentProcess(sandbox);
    agent.configure({ nomad: { address: 'http://127.0.0.1:1' } });
  });
  afterEach(async () => {
    await agent.stop('SIGKILL');
    await sandbox.dispose();
  });

  /** The same configuration in all but where others meet the agent. */
  function otherAgent(...command: string[]) {
    const config = join(sandbox.directory, 'other.yaml');
    const same = parse(readFileSync(agent.configFile, 'utf8'));
    const at = (name: string) => join(sandbox.directory, 'other', name);
    writeFileSync(
      config,
      stringify({
        ...same,
        admin: { socket: at('admin.sock') },
        gate: { dir: at('gate') },
        metrics: { address: 'off' },
      }),
    );
    return runCommand([process.execPath, MAIN, ...command, '--config', config]);
  }

  test('is no second agent`s with another admin socket, and no cleanup`s, while one runs, whose pid is said', async () => {
    await agent.startUnready();
    for (const command of ['agent', 'cleanup']) {
      const { code, stdout, stderr } = await otherAgent(command);
      expect(code).toBe(1);
      expect(`${stdout}${stderr}`).toMatch(new RegExp(`is in use by process ${agent.pid}, .*state_dir of its own`));
    }
  });

  test('is the next agent`s after a kill, and after a stop of one whose sockets are kept', async () => {
    const manager = new PlayedServiceManager(join(sandbox.directory, 'notify'));
    onTestFinished(() => manager[Symbol.dispose]());
    agent.manager = manager;
    for (const signal of ['SIGKILL', 'SIGTERM', 'SIGKILL'] as const) {
      agent.log.length = 0;
      await agent.startUnready();
      await agent.waitForLog(/gates are open/);
      await agent.stop(signal);
    }
    expect(manager.kept.size).toBeGreaterThan(0);
  });
});
