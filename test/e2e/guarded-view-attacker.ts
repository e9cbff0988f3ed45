import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Sandbox } from '../support/sandbox.ts';
import type { SandboxUser } from '../support/sandbox-user.ts';
import { TIME_SCALE } from '../support/time-scale.ts';
import { until } from '../support/until.ts';
import { PROGRAM } from './guarded-view-program.ts';

/** Ids of the user's Podman: her own, and the first, one in the middle and the last of her subordinate ones. */
export const IDS = [0, 1, 1000, 65_536] as const;

/** One thing tried in one directory. */
export interface Attempt {
  /** The directory, by the path that it was opened by. */
  readonly door: string;
  /** The id that it was opened as, and the one that acted; `host` is the user outside of her user namespace. */
  readonly opener: number | 'host';
  readonly actor: number | 'host';
  /** How the actor came by it: a descriptor, its cwd, or one that was passed into another mount namespace, or to the host. */
  readonly via: 'handle' | 'cwd' | 'passed' | 'host' | 'uncovered';
  readonly act: string;
  /** `ok`, or the error's name. */
  readonly outcome: string;
  /** What was read, or what the program that was run wrote. */
  readonly seen?: string;
}

/** What a sweep tries. */
export interface SweepOptions {
  /** Where directories are looked for; what is below and can be listed is tried too. */
  readonly doors: readonly string[];
  /** What symlinks lead to. */
  readonly victim: string;
  /** The name of a program to run wherever it is seen, as `id -u`. */
  readonly run?: string;
}

let runs = 0;

/** Runs a user's programs with all that she can be and have: her ids, her namespaces, her processes on the host. */
export class Attacker {
  readonly #user: SandboxUser;
  readonly #program: string;

  constructor(sandbox: Sandbox, user: string) {
    this.#user = sandbox.user(user);
    this.#program = join(sandbox.directory, 'attack.py');
    writeFileSync(this.#program, PROGRAM, { mode: 0o644 });
  }

  /** Tries to write in, read from and take apart every directory that the doors lead to, in every way. */
  async sweep(options: SweepOptions): Promise<readonly Attempt[]> {
    const socket = join(this.#user.home, `sweep-${runs++}`);
    const given = JSON.stringify({ ...options, ids: IDS, socket });
    // The host's side listens until the other one has passed it what it has.
    const [host, inside] = await Promise.all([
      this.#user.run(['python3', this.#program, 'host', given]),
      this.#unshared(['sweep', given]),
    ]);
    const failed = [host, inside].find(({ code }) => code !== 0);
    if (failed) throw new Error(`the sweep has failed: ${failed.stderr}`);
    return `${host.stdout}${inside.stdout}`
      .split('\n')
      .filter((line) => line !== '')
      .map((line): Attempt => JSON.parse(line));
  }

  /**
   * Waits for a directory to come, and puts a symlink into it as soon as that goes, as a subordinate id with a handle
   * and a cwd of the user's. @returns what comes of it, once it has gone or the time is over
   */
  race(options: { directory: string; name: string; victim: string; seconds: number }): Race {
    const ready = join(this.#user.home, `race-${runs++}`);
    const done = this.#unshared([
      'race',
      JSON.stringify({ ...options, seconds: options.seconds * TIME_SCALE, ready, ids: IDS }),
    ]);
    const hasBegun = async () => {
      await until('the race is on', async () => (await this.#user.run(['test', '-e', ready])).code === 0);
    };
    return { hasBegun, outcome: () => done.then(({ stdout, stderr }) => `${stdout}${stderr}`.trim()) };
  }

  /**
   * Moves directories away in one that she may write to, from a mount namespace in which nothing is mounted on them, and
   * puts others of hers in their place. @returns for each what came of it
   * @param names for each directory the symlinks that the new one is to hold, by name
   */
  async replace(directory: string, names: Readonly<Record<string, Readonly<Record<string, string>>>>): Promise<string> {
    const { stdout, stderr } = await this.#unshared(['replace', JSON.stringify({ directory, names })]);
    return `${stdout}${stderr}`;
  }

  /** Runs a shell script as root of the user's own user namespace, where she sees what her Podman sees. */
  async shell(script: string): Promise<string> {
    const { stdout, stderr } = await this.#user.run([...UNSHARE, 'sh', '-c', script]);
    return `${stdout}${stderr}`;
  }

  #unshared(args: readonly string[]) {
    return this.#user.run([...UNSHARE, 'python3', this.#program, ...args]);
  }
}

/** A race that runs. */
export interface Race {
  hasBegun(): Promise<void>;
  outcome(): Promise<string>;
}

const UNSHARE = ['podman', '--cgroup-manager=cgroupfs', 'unshare'];
