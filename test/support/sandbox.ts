import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { busyboxTar } from './busybox-image.ts';
import { runCommand } from './command.ts';
import { mountsOfThisNamespaceBelow } from './leftovers.ts';
import { isInNamespaces, SANDBOX_DIRECTORY } from './namespaces.ts';
import { SandboxUser } from './sandbox-user.ts';
import { until } from './until.ts';

const FIRST_UID = 2001;
const FIRST_SUBORDINATE_ID = 300_000;
const SUBORDINATE_IDS = 65_536;
const ACCOUNT_FILES = ['/etc/passwd', '/etc/group', '/etc/subuid', '/etc/subgid'];

/** What a sandbox holds from the start. */
export interface SandboxOptions {
  /** Names of the throwaway users; alice and bob unless told. */
  readonly users?: readonly string[];
}

/** What a user of the sandbox has. */
export interface UserOptions {
  /** Whether /etc/subuid and /etc/subgid have a range for the user; true unless told. */
  readonly subordinateIds?: boolean;
}

/**
 * A place for one test file, the demo or a bench: a directory and throwaway users with a rootless Podman each, inside
 * the namespaces that namespaces.ts makes. One at a time in the same namespaces: users are shared by all that runs there.
 */
export class Sandbox {
  /** A directory of this sandbox alone, root's, 0755, on tmpfs. */
  readonly directory: string;
  readonly #users = new Map<string, SandboxUser>();
  readonly #accounts: ReadonlyMap<string, string>;
  #made = 0;

  constructor() {
    if (!isInNamespaces()) throw new Error('a sandbox needs the throwaway namespaces: run it by `npm test`, as root');
    this.directory = mkdtempSync(join(SANDBOX_DIRECTORY, 'sandbox-'));
    chmodSync(this.directory, 0o755);
    mkdirSync(join(this.directory, 'home'));
    this.#accounts = new Map(ACCOUNT_FILES.map((file) => [file, readFileSync(file, 'utf8')]));
  }

  /** Adds a throwaway user; the Podman service is not started. @throws Error where the name is taken */
  addUser(name: string, { subordinateIds = true }: UserOptions = {}): SandboxUser {
    const taken = readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .some((line) => line.startsWith(`${name}:`));
    if (taken) throw new Error(`there is a user ${name} already`);
    const number = this.#made++;
    const subordinateStart = subordinateIds ? FIRST_SUBORDINATE_ID + number * SUBORDINATE_IDS : 0;
    const user = new SandboxUser(name, FIRST_UID + number, subordinateStart, join(this.directory, 'home', name));
    user.create();
    this.#users.set(name, user);
    return user;
  }

  /** A user by name. @throws Error where there is none */
  user(name: string): SandboxUser {
    const user = this.#users.get(name);
    if (!user) throw new Error(`the sandbox has no user ${name}`);
    return user;
  }

  /** All users, in the order they were added. */
  get users(): readonly SandboxUser[] {
    return [...this.#users.values()];
  }

  /** Imports the busybox image under a name into the user's storage; `user` becomes the image's USER. */
  async buildImage(user: SandboxUser, name: string, options: { readonly user?: string } = {}): Promise<void> {
    const change = options.user === undefined ? [] : ['--change', `USER ${options.user}`];
    await user.podman(['import', '--quiet', ...change, await busyboxTar(), name]);
  }

  /**
   * Takes everything away: kills the users' processes (containers, conmon, Podman and its pause process), removes
   * their directories and the users themselves.
   */
  async dispose(): Promise<void> {
    await Promise.all(this.users.map((user) => user.stopService('SIGKILL')));
    await until('no process of the users is left', () => {
      const pids = this.#processes();
      for (const pid of pids) kill(pid);
      return pids.length === 0;
    });
    // An agent that is stopped leaves its mounts to the tasks that run; here there is no task any more.
    await until('nothing is mounted below its directory', async () => {
      const mounts = mountsOfThisNamespaceBelow(this.directory).reverse();
      // What somebody else is unmounting just now may be gone.
      for (const { mountPoint } of mounts) await runCommand(['umount', '--lazy', mountPoint]);
      return mounts.length === 0;
    });
    for (const { runtimeDir } of this.users) rmSync(runtimeDir, { recursive: true, force: true });
    rmSync(this.directory, { recursive: true, force: true });
    for (const [file, content] of this.#accounts) writeFileSync(file, content);
    this.#users.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  #processes(): number[] {
    return readdirSync('/proc')
      .map(Number)
      .filter((pid) => {
        const uid = uidOf(pid);
        return uid !== undefined && this.users.some((user) => user.owns(uid));
      });
  }
}

/** Makes a sandbox whose users each have a Podman API service running and an image `localhost/bb:1`. */
export async function createSandbox({ users = ['alice', 'bob'] }: SandboxOptions = {}): Promise<Sandbox> {
  const sandbox = new Sandbox();
  try {
    for (const name of users) sandbox.addUser(name);
    await busyboxTar();
    await Promise.all(
      sandbox.users.map(async (user) => {
        await sandbox.buildImage(user, IMAGE);
        await user.startService();
      }),
    );
    return sandbox;
  } catch (error) {
    await sandbox.dispose();
    throw error;
  }
}

/** The image that createSandbox imports for each user: busybox, as root. */
export const IMAGE = 'localhost/bb:1';

/** The real uid of a living process; undefined for one that has ended, zombies included. */
function uidOf(pid: number): number | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    if (/^State:\s*[ZX]/m.test(status)) return undefined;
    const uid = /^Uid:\s*(\d+)/m.exec(status)?.[1];
    return uid === undefined ? undefined : Number(uid);
  } catch {
    return undefined;
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
