import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type CommandResult, mustRun, runCommand } from '../command.ts';
import type { Sandbox } from '../sandbox.ts';

/** Of dpkg, and of what it triggers. */
const BOOKS = /^\/var\/(lib\/dpkg|log|cache)(\/|$)/;
const TIMEOUT_MS = 120_000;

/** A root to install into: this host's, whose changes go with it. Without a systemd, as in a chroot or the build of an image. */
export class CleanRoot implements AsyncDisposable {
  readonly #directory: string;

  private constructor(sandbox: Sandbox) {
    this.#directory = join(sandbox.directory, 'clean-root');
  }

  static async create(sandbox: Sandbox): Promise<CleanRoot> {
    const root = new CleanRoot(sandbox);
    const directory = root.#directory;
    mkdirSync(directory);
    await mustRun(['mount', '-t', 'tmpfs', 'tmpfs', directory]);
    for (const name of ['upper', 'work', 'root']) mkdirSync(join(directory, name));
    const layers = `lowerdir=/,upperdir=${directory}/upper,workdir=${directory}/work`;
    await mustRun(['mount', '-t', 'overlay', '-o', layers, 'overlay', root.path('/')]);
    for (const name of ['proc', 'dev']) await mustRun(['mount', '--rbind', `/${name}`, root.path(name)]);
    for (const name of ['run', 'tmp']) await mustRun(['mount', '-t', 'tmpfs', 'tmpfs', root.path(name)]);
    return root;
  }

  /** Where a path of it is here. */
  path(inside: string): string {
    return join(this.#directory, 'root', inside);
  }

  /** Runs a command in it; never throws on its exit code. */
  run(...argv: readonly string[]): Promise<CommandResult> {
    const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };
    return runCommand(['chroot', this.path('/'), ...argv], { env, timeoutMs: TIMEOUT_MS });
  }

  /** @returns what dpkg and its scripts have written @throws Error with that where it fails */
  async dpkg(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run('dpkg', ...args);
    if (code !== 0) throw new Error(`dpkg ${args.join(' ')}: ${stdout}${stderr}`);
    return `${stdout}${stderr}`;
  }

  /** `dpkg --install`. @param file of this host */
  async install(file: string): Promise<string> {
    await mustRun(['cp', file, this.path('/tmp/package.deb')]);
    return this.dpkg('--install', '/tmp/package.deb');
  }

  /** The paths of all that is where packages and their programs write, but for dpkg's own books. */
  async files(): Promise<readonly string[]> {
    const { stdout } = await this.run('find', '/etc', '/run', '/usr', '/var');
    const paths = stdout.split('\n').filter((path) => !BOOKS.test(path));
    return paths.sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await mustRun(['umount', '--recursive', this.#directory]);
    rmSync(this.#directory, { recursive: true });
  }
}
