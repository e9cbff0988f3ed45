import { readFileSync } from 'node:fs';
import { IMAGE } from '../sandbox.ts';
import { until } from '../until.ts';
import { IN_MACHINE, type Machine } from './machine.ts';

/** Limits that Podman and the driver set for each container. */
const LIMITS = ['memory', 'pids'];
/** For a kernel that has no such controllers in cgroup v2. */
const WITHOUT_LIMITS = `[containers]
pids_limit = 0

[engine.runtimes]
crun = ["${IN_MACHINE.project}/test/support/systemd/crun-without-limits.py"]
`;

/** A user of a machine, with Podman's socket in the user's own systemd. */
export class MachineUser {
  readonly name: string;
  readonly #machine: Machine;

  private constructor(machine: Machine, name: string) {
    this.#machine = machine;
    this.name = name;
  }

  /** Adds a user as the README says, and gives the user's Podman the image `localhost/bb:1`. */
  static async add(machine: Machine, name: string): Promise<MachineUser> {
    const user = new MachineUser(machine, name);
    await machine.mustRun(['useradd', '--create-home', '--shell', '/bin/bash', name]);
    await user.linger(true);
    await user.systemctl('enable', '--now', 'podman.socket');
    await user.run(['podman', 'import', '--quiet', IN_MACHINE.image, IMAGE]);
    return user;
  }

  /** Whether the user's systemd runs without a login. */
  async linger(isOn: boolean): Promise<void> {
    await this.#machine.mustRun(['loginctl', isOn ? 'enable-linger' : 'disable-linger', this.name]);
  }

  /** `systemctl --user`. */
  async systemctl(...args: readonly string[]): Promise<string> {
    return this.#machine.mustRun(['systemctl', '--user', `--machine=${this.name}@`, ...args]);
  }

  /** Runs a command as a unit of the user's systemd. @throws Error with its standard error when it fails */
  async run(argv: readonly string[]): Promise<string> {
    const unit = ['systemd-run', '--user', `--machine=${this.name}@`, '--quiet', '--collect', '--pipe', '--wait', '--'];
    return this.#machine.mustRun([...unit, ...argv]);
  }

  /** Starts the user's systemd, as a login would. */
  async startManager(): Promise<void> {
    await this.#machine.mustRun(['systemctl', 'start', `user@${await this.uid()}.service`]);
  }

  /** `loginctl terminate-user`; waits until the user's systemd has ended. */
  async terminate(): Promise<void> {
    await this.#machine.mustRun(['loginctl', 'terminate-user', this.name]);
    const unit = `user@${await this.uid()}.service`;
    await until(`${unit} has ended`, async () =>
      ['inactive', 'failed'].includes((await this.#machine.show(unit, 'ActiveState')).ActiveState),
    );
  }

  async uid(): Promise<number> {
    return Number(await this.#machine.mustRun(['id', '--user', this.name]));
  }
}

/** Configures Podman for what this machine's kernel lacks. */
export async function configurePodman(machine: Machine): Promise<void> {
  const controllers = readFileSync('/sys/fs/cgroup/cgroup.controllers', 'utf8').trim().split(' ');
  if (LIMITS.every((name) => controllers.includes(name))) return;
  await machine.writeFile('/etc/containers/containers.conf.d/limits.conf', WITHOUT_LIMITS);
}
