import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { busyboxTar } from '../busybox-image.ts';
import { type CommandOptions, type CommandResult, mustRun, runCommand } from '../command.ts';
import { until } from '../until.ts';
import { makeCgroup, removeCgroup, removeDeadCgroups } from './cgroup.ts';
import type { RunParts } from './run-parts.ts';

const PROJECT = fileURLToPath(new URL('../../..', import.meta.url));
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** What of this project and of what was made for the run the machine has, read-only. */
export const IN_MACHINE = {
  project: '/project',
  bundles: '/bundles',
  image: '/image.tar',
  nomad: '/usr/bin/nomad',
  plugins: '/plugins',
} as const;
/** On a real filesystem of their own: an overlay neither maps ids nor carries another overlay. */
const DIRECTORIES = ['/home', '/opt/nomad'];
/** Beyond what systemd-nspawn lets through: what rootless Podman, crun and the agent call. */
const SYSTEM_CALLS = 'keyctl bpf @mount @keyring open_by_handle_at';
const NSPAWN_ENVIRONMENT = {
  SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1',
  SYSTEMD_NSPAWN_USE_CGNS: '1',
  SYSTEMD_NSPAWN_API_VFS_WRITABLE: 'yes',
};
const ENTER = ['nsenter', '--mount', '--uts', '--ipc', '--pid', '--cgroup', '--root', '--wd'];
const JOINED = 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"';
const WRITE = 'mkdir -p "$(dirname "$1")" && install -m "$2" /dev/null "$1" && cat >"$1"';
const BOOT_TIMEOUT_MS = 60_000;

/** Where a machine is to come from. */
export interface MachineOptions extends RunParts {
  /** What of this host it is to see, read-only, beside the project: path here to path there. */
  readonly shown?: Readonly<Record<string, string>>;
}

/**
 * Debian 13 with its own systemd as the first process, in a container of systemd-nspawn inside the throwaway namespaces,
 * whose network namespace it shares. What it writes stays over a power-off and a boot, and goes with `dispose`.
 */
export class Machine {
  /** What it writes to its console, lives one after the other. */
  readonly console: string;
  readonly #options: MachineOptions;
  readonly #directory: string;
  readonly #root: string;
  readonly #cgroup: string;
  #nspawn: ChildProcess | undefined;
  #init = 0;

  private constructor(options: MachineOptions) {
    this.#options = options;
    this.#directory = mkdtempSync(join(options.directory, 'machine-'));
    this.#root = join(this.#directory, 'root');
    this.console = join(this.#directory, 'console');
    this.#cgroup = makeCgroup(this.#directory);
    writeFileSync(this.console, '');
  }

  /** Makes a machine of its own disk, switched off. */
  static async create(options: MachineOptions): Promise<Machine> {
    await removeDeadCgroups(dirname(options.directory));
    const machine = new Machine(options);
    const directory = machine.#directory;
    for (const name of ['root', 'upper', 'work']) mkdirSync(join(directory, name));
    for (const path of DIRECTORIES) mkdirSync(machine.#disk(path));
    const layers = `lowerdir=${options.system},upperdir=${join(directory, 'upper')},workdir=${join(directory, 'work')}`;
    await mustRun(['mount', '-t', 'overlay', '-o', layers, 'machine', machine.#root]);
    return machine;
  }

  /** Switches it on, and waits until systemd has started all that is enabled. @throws Error with the end of its console */
  async boot(): Promise<void> {
    if (this.#nspawn) throw new Error('the machine is on already');
    const shown = {
      [PROJECT]: IN_MACHINE.project,
      [this.#options.bundles]: IN_MACHINE.bundles,
      [await busyboxTar()]: IN_MACHINE.image,
      ...this.#options.shown,
    };
    const argv = [
      ...['systemd-nspawn', '--quiet', '--boot', `--directory=${this.#root}`, '--machine=machine'],
      // There is no systemd on this side that it could be registered with.
      ...['--register=no', '--keep-unit', '--console=pipe', '--resolv-conf=off', '--timezone=off'],
      ...['--capability=all', '--private-users=no', `--system-call-filter=${SYSTEM_CALLS}`],
      ...['--bind=/dev/net/tun', '--bind=/dev/fuse'],
      ...DIRECTORIES.map((path) => `--bind=${this.#disk(path)}:${path}`),
      ...Object.entries(shown).map(([here, there]) => `--bind-ro=${here}:${there}`),
    ];
    const nspawn = spawn('sh', ['-c', JOINED, 'sh', this.#cgroup, ...argv], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...NSPAWN_ENVIRONMENT },
    });
    this.#nspawn = nspawn;
    for (const output of [nspawn.stdout, nspawn.stderr]) {
      output.on('data', (chunk: Buffer) => appendFileSync(this.console, chunk));
    }
    const isUp = await until(
      'the machine has booted',
      async () => {
        if (nspawn.exitCode !== null) return 'ended';
        this.#init = initOf(nspawn.pid ?? 0);
        const state = (await this.run(['systemctl', 'is-system-running', '--wait'])).stdout.trim();
        return ['running', 'degraded'].includes(state) && state;
      },
      BOOT_TIMEOUT_MS,
    );
    if (isUp === 'running') return;
    const failed = isUp === 'degraded' ? await this.mustRun(['systemctl', '--no-pager', 'list-units', '--failed']) : '';
    throw new Error(`the machine is ${isUp}: ${failed}\n${readFileSync(this.console, 'utf8').slice(-4000)}`);
  }

  /** Switches it off as its operator would, and waits until all of it has ended. */
  async powerOff(): Promise<void> {
    const nspawn = this.#nspawn;
    if (!nspawn) throw new Error('the machine is off');
    const off = once(nspawn, 'exit');
    await this.mustRun(['systemctl', 'poweroff']);
    await off;
    this.#nspawn = undefined;
  }

  /** Runs a command in it as root, with a clean environment; never throws on its exit code. */
  run(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    if (this.#init === 0) throw new Error('the machine is off');
    // As a unit of its own: of a process in a cgroup that the machine does not see logind wants nothing to do.
    const run = ['systemd-run', '--quiet', '--collect', '--pipe', '--wait', '--'];
    return runCommand([...ENTER, `--target=${this.#init}`, ...run, ...argv], { env: { PATH }, cwd: '/', ...options });
  }

  /** Runs a command in it that has to succeed. @returns its standard output @throws Error with its standard error */
  async mustRun(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
    const { code, stdout, stderr } = await this.run(argv, options);
    if (code !== 0) throw new Error(`${argv.join(' ')}: exit code ${code}: ${stderr.trim()}`);
    return stdout;
  }

  /** Writes a file of root's in it. */
  async writeFile(path: string, content: string, mode = '0644'): Promise<void> {
    await this.mustRun(['sh', '-c', WRITE, 'sh', path, mode], { input: content });
  }

  /** Properties of a unit, as `systemctl show` has them. */
  async show<Name extends string>(unit: string, ...names: readonly Name[]): Promise<Record<Name, string>> {
    const lines = (await this.mustRun(['systemctl', 'show', `--property=${names.join(',')}`, unit])).split('\n');
    return Object.fromEntries(
      names.map((name) => {
        const line = lines.find((one) => one.startsWith(`${name}=`));
        if (line === undefined) throw new Error(`systemctl show ${unit}: no ${name}`);
        return [name, line.slice(name.length + 1)];
      }),
    ) as Record<Name, string>;
  }

  /** What a unit has logged since the machine's last boot. */
  journal(unit: string): Promise<string> {
    return this.mustRun(['journalctl', '--no-pager', '--boot', '--output=cat', `--unit=${unit}`]);
  }

  /** Pulls the plug, and takes its disk away. */
  async dispose(): Promise<void> {
    const nspawn = this.#nspawn;
    this.#nspawn = undefined;
    if (nspawn && nspawn.exitCode === null) {
      const ended = once(nspawn, 'exit');
      if (this.#init === 0) nspawn.kill('SIGKILL');
      else process.kill(this.#init, 'SIGKILL');
      await ended;
    }
    await mustRun(['umount', '--lazy', this.#root]);
    await removeCgroup(this.#cgroup);
    rmSync(this.#directory, { recursive: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  #disk(path: string): string {
    return join(this.#directory, path.slice(1).replaceAll('/', '-'));
  }
}

/** The first process of the container: the one child of systemd-nspawn that is process 1 in a pid namespace. */
function initOf(nspawn: number): number {
  const children = readFileSync(`/proc/${nspawn}/task/${nspawn}/children`, 'utf8').trim().split(' ');
  const init = children.find((pid) => /^NSpid:.*\t1$/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')));
  if (init === undefined) throw new Error('systemd-nspawn has not started the first process yet');
  return Number(init);
}
