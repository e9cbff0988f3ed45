import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, chownSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { dirname, join } from 'node:path';
import { type CommandOptions, type CommandResult, mustRun, runCommand } from './command.ts';
import { until } from './until.ts';

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const SUBORDINATE_IDS = 65536;

/** No systemd and no journal here; vfs because it works on every kernel and the image is small. */
const ENGINE_CONF = '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n';
const STORAGE_CONF = '[storage]\ndriver = "vfs"\n';
const POLICY = '{ "default": [{ "type": "insecureAcceptAnything" }] }\n';

/** A throwaway user with a rootless Podman of their own. */
export class SandboxUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  /** The first of the 65536 subordinate uids and gids; 0 where the user has none. */
  readonly subordinateStart: number;
  readonly home: string;
  /** XDG_RUNTIME_DIR. */
  readonly runtimeDir: string;
  /** Where the user's Podman API service listens. */
  readonly socket: string;
  readonly #env: Readonly<Record<string, string>>;
  #service: ChildProcess | undefined;

  constructor(name: string, uid: number, subordinateStart: number, home: string) {
    this.name = name;
    this.uid = uid;
    this.gid = uid;
    this.subordinateStart = subordinateStart;
    this.home = home;
    this.runtimeDir = `/run/user/${uid}`;
    this.socket = `${this.runtimeDir}/podman/podman.sock`;
    this.#env = { PATH, HOME: home, USER: name, LOGNAME: name, XDG_RUNTIME_DIR: this.runtimeDir };
  }

  /** Enters the user in the namespaces' own /etc and makes home and runtime directory, as systemd-logind would. */
  create(): void {
    appendFileSync('/etc/passwd', `${this.name}:x:${this.uid}:${this.gid}::${this.home}:/bin/sh\n`);
    appendFileSync('/etc/group', `${this.name}:x:${this.gid}:\n`);
    if (this.subordinateStart !== 0) {
      for (const file of ['/etc/subuid', '/etc/subgid']) {
        appendFileSync(file, `${this.name}:${this.subordinateStart}:${SUBORDINATE_IDS}\n`);
      }
    }
    const config = join(this.home, '.config/containers');
    for (const directory of [this.home, this.runtimeDir, dirname(this.socket), dirname(config), config]) {
      mkdirSync(directory, { mode: 0o700 });
      chownSync(directory, this.uid, this.gid);
    }
    writeFileSync(join(config, 'containers.conf'), ENGINE_CONF);
    writeFileSync(join(config, 'storage.conf'), STORAGE_CONF);
    writeFileSync(join(config, 'policy.json'), POLICY);
  }

  /** Runs a command as the user, in their home, with a clean environment; never throws on its exit code. */
  run(argv: readonly string[], options: Omit<CommandOptions, 'uid' | 'gid'> = {}): Promise<CommandResult> {
    return runCommand(argv, this.#asUser(options));
  }

  /** Runs Podman's command line as the user. @returns standard output @throws Error when it fails */
  podman(args: readonly string[], options: Omit<CommandOptions, 'uid' | 'gid'> = {}): Promise<string> {
    return mustRun(['podman', ...args], this.#asUser(options));
  }

  /** Starts the user's real Podman API service and waits until it answers. Its log is `podman.log` in the home. */
  async startService(): Promise<void> {
    if (this.#service) throw new Error(`${this.name}'s Podman service runs already`);
    const log = openSync(join(this.home, 'podman.log'), 'a');
    const { uid, gid, home: cwd } = this;
    const service = spawn('podman', ['system', 'service', '--time=0', `unix://${this.socket}`], {
      uid,
      gid,
      cwd,
      env: this.#env,
      stdio: ['ignore', log, log],
    });
    this.#service = service;
    await until(`${this.name}'s Podman service answers`, () => {
      if (service.exitCode !== null) throw new Error(this.serviceLog());
      return ping(this.socket);
    });
  }

  /** Puts lines into the section `[containers]` of the user's containers.conf, and starts the API service anew with it. */
  async configure(lines: string): Promise<void> {
    const file = join(this.home, '.config/containers/containers.conf');
    writeFileSync(file, `[containers]\n${lines}\n${ENGINE_CONF}`);
    await this.stopService();
    await this.startService();
  }

  /** Stops the API service, and waits until it has ended. Containers and the pause process live on. */
  async stopService(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const service = this.#service;
    this.#service = undefined;
    if (!service || service.exitCode !== null || service.signalCode !== null) return;
    service.kill(signal);
    await once(service, 'exit');
  }

  /** Whether the API service runs. */
  get isServed(): boolean {
    return this.#service !== undefined;
  }

  /** Has the API service hang until the returned function is called: it takes connections and answers nothing. */
  hangService(): () => void {
    const service = this.#service;
    if (!service) throw new Error(`${this.name}'s Podman service does not run`);
    service.kill('SIGSTOP');
    return () => void service.kill('SIGCONT');
  }

  /** What the API service has written so far. */
  serviceLog(): string {
    return readFileSync(join(this.home, 'podman.log'), 'utf8');
  }

  /** The pid of the user's Podman pause process; undefined where there is none. */
  pausePid(): number | undefined {
    try {
      const pid = Number(readFileSync(join(this.runtimeDir, 'libpod/tmp/pause.pid'), 'utf8').trim());
      readFileSync(`/proc/${pid}/stat`);
      return pid;
    } catch {
      return undefined;
    }
  }

  /** Whether a uid is the user's own or one of their subordinate ones. */
  owns(uid: number): boolean {
    const first = this.subordinateStart;
    return uid === this.uid || (first !== 0 && uid >= first && uid < first + SUBORDINATE_IDS);
  }

  #asUser(options: Omit<CommandOptions, 'uid' | 'gid'>): CommandOptions {
    return { cwd: this.home, ...options, uid: this.uid, gid: this.gid, env: { ...this.#env, ...options.env } };
  }
}

function ping(socketPath: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    request({ socketPath, path: '/libpod/_ping' }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    })
      .on('error', reject)
      .end();
  });
}
