import { stringify } from 'yaml';
import type { CommandResult } from '../command.ts';
import { documentedCommand } from '../shell-blocks.ts';
import { until } from '../until.ts';
import type { BundleName } from './bundles.ts';
import { IN_MACHINE, type Machine } from './machine.ts';

export const UNIT = 'nomad-rootless.service';

const CONFIG_FILE = '/etc/nomad-rootless/config.yaml';
/** By hand, where `npm run build` has made dist/. */
const INSTALL = `
ln -s ${IN_MACHINE.project}/node_modules/node/bin/node /usr/bin/node
mkdir /tmp/clone
cd /tmp/clone
ln -s ${IN_MACHINE.project}/deploy deploy
cp -r ${IN_MACHINE.bundles}/this dist
${documentedCommand('docs/operations.md', 'cp -r dist')}
${documentedCommand('docs/operations.md', 'ln -s /usr/lib/nomad-rootless')}
install -d -m 0755 /etc/nomad-rootless
${documentedCommand('docs/operations.md', 'install -m 0644 deploy/systemd')}
${documentedCommand('docs/operations.md', 'systemctl daemon-reload')}
systemctl enable ${UNIT}
`;
const COPY_OVER = documentedCommand('docs/operations.md', 'cp -r --remove-destination');
/** Nomad's client may wait for tasks that it takes up, as long as a gate holds what the driver asks of them. */
const READY_TIMEOUT_MS = 60_000;
const METRICS_ADDRESS = 'http://127.0.0.1:4656';

/** The agent as the README has it installed: bundle, Node.js, configuration and unit. */
export class InstalledAgent {
  readonly #machine: Machine;

  private constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** Installs and enables it, but does not start it. @param config its configuration as the YAML file has it */
  static async install(machine: Machine, config: object): Promise<InstalledAgent> {
    const agent = new InstalledAgent(machine);
    await machine.mustRun(['sh', '-euc', INSTALL]);
    await agent.configure(config);
    return agent;
  }

  /** The same of its package, with a Node.js that only the tests' own programs use. */
  static async installPackage(machine: Machine, config: object): Promise<InstalledAgent> {
    const agent = new InstalledAgent(machine);
    await machine.mustRun(['ln', '-s', `${IN_MACHINE.project}/node_modules/node/bin/node`, '/usr/bin/node']);
    await agent.dpkg('--install', `${IN_MACHINE.bundles}/this.deb`);
    await agent.configure(config);
    return agent;
  }

  /** Runs dpkg, which runs the package's scripts. @returns what they have written @throws Error with that */
  async dpkg(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.#machine.run(['dpkg', '--force-confold', ...args]);
    if (code !== 0) throw new Error(`dpkg ${args.join(' ')}: ${stdout}${stderr}`);
    return `${stdout}${stderr}`;
  }

  /** Copies a bundle over the one that is there, as the README has it. */
  async copyBundle(bundle: BundleName): Promise<void> {
    const lay = `cd /tmp/clone && rm -r dist && cp -r ${IN_MACHINE.bundles}/${bundle} dist`;
    await this.#machine.mustRun(['sh', '-euc', `${lay}\n${COPY_OVER}`]);
  }

  /** Writes the configuration. */
  async configure(config: object): Promise<void> {
    await this.writeConfig(stringify(config));
  }

  /** Writes what need not be a configuration. */
  async writeConfig(text: string): Promise<void> {
    await this.#machine.writeFile(CONFIG_FILE, text, '0600');
  }

  /** `systemctl <verb>` of its unit; returns when the job is done. */
  systemctl(verb: 'start' | 'stop' | 'restart' | 'reload'): Promise<CommandResult> {
    return this.#machine.run(['systemctl', verb, UNIT]);
  }

  /** Sends a signal to its main process alone. */
  async kill(signal: NodeJS.Signals): Promise<void> {
    await this.#machine.mustRun(['systemctl', 'kill', '--kill-whom=main', `--signal=${signal}`, UNIT]);
  }

  /** The pid of its main process, in the machine; 0 while there is none. */
  async mainPid(): Promise<number> {
    return Number((await this.show('MainPID')).MainPID);
  }

  show<Name extends string>(...names: readonly Name[]): Promise<Record<Name, string>> {
    return this.#machine.show(UNIT, ...names);
  }

  journal(): Promise<string> {
    return this.#machine.journal(UNIT);
  }

  /** Waits until it has logged something. */
  async waitForJournal(pattern: RegExp): Promise<void> {
    await until(`the agent logs ${pattern}`, async () => pattern.test(await this.journal()));
  }

  /** Waits until its main process is another one, and its unit is active. */
  async waitForOtherThan(pid: number): Promise<void> {
    await until('systemd has started the agent again', async () => {
      const { MainPID, ActiveState } = await this.show('MainPID', 'ActiveState');
      return ActiveState === 'active' && !['0', String(pid)].includes(MainPID);
    });
  }

  /** Runs one of its commands: `status`, `explain`, `check-config`. */
  command(...args: readonly string[]): Promise<CommandResult> {
    return this.#machine.run(['nomad-rootless', ...args]);
  }

  /** Waits until /readyz says yes. @throws Error with what it says and with its log */
  async waitUntilReady(): Promise<void> {
    await until(
      'the agent is ready',
      async () => {
        const answer = await fetch(`${METRICS_ADDRESS}/readyz`);
        if (!answer.ok) throw new Error(`${await answer.text()}\n${await this.journal()}`);
        return true;
      },
      READY_TIMEOUT_MS,
    );
  }

  /** One sample's value of /metrics; undefined where there is none. @param sample name and labels as in the exposition format */
  async metric(sample: string): Promise<number | undefined> {
    const line = (await metrics()).find((text) => text.startsWith(`${sample} `));
    return line === undefined ? undefined : Number(line.slice(sample.length + 1));
  }

  /** What the running agent says of its build. */
  async info(): Promise<string | undefined> {
    return (await metrics()).find((text) => text.startsWith('nomad_rootless_build_info'));
  }
}

async function metrics(): Promise<readonly string[]> {
  return (await (await fetch(`${METRICS_ADDRESS}/metrics`)).text()).split('\n');
}
