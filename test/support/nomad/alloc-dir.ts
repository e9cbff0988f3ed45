import { chmodSync, chownSync, existsSync, mkdirSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun, runCommand } from '../command.ts';

const NOBODY = 65534;
/** What keeps Nomad from mounting a tmpfs twice (client/allocdir/fs_linux.go). */
const SECRET_MARKER = '.nomad-mount';

/** The directories of one task, as Nomad lays them out. */
export interface TaskDir {
  readonly directory: string;
  readonly local: string;
  readonly secrets: string;
  readonly private: string;
}

/**
 * `<alloc_dir>/<allocation id>` as Nomad's client makes it and takes it away (client/allocdir): all of it by path, as
 * root, following what symlinks there are, so that a task that may put one in its way has root walk there.
 */
export class AllocDir {
  readonly directory: string;
  /** What tasks see as /alloc. */
  readonly shared: string;
  readonly logs: string;
  readonly #built = new Set<string>();

  constructor(allocDir: string, id: string) {
    this.directory = join(allocDir, id);
    this.shared = join(this.directory, 'alloc');
    this.logs = join(this.shared, 'logs');
  }

  /** AllocDir.Build: the root 0755 root, what lies in it 0777 nobody. Runs again when the client starts again. */
  build(): void {
    mkdirSync(this.directory, { recursive: true, mode: 0o755 });
    for (const directory of [this.shared, this.logs, join(this.shared, 'tmp'), join(this.shared, 'data')]) {
      openToAll(directory);
    }
  }

  /** AllocDir.Move: takes over what an earlier allocation's tasks kept, by renaming; a symlink goes on as such. */
  move(earlier: AllocDir, tasks: readonly string[]): void {
    takeOver(join(earlier.shared, 'data'), join(this.shared, 'data'));
    for (const task of tasks) {
      const kept = join(earlier.directory, task, 'local');
      if (!existsSync(kept)) continue;
      mkdirSync(join(this.directory, task), { recursive: true, mode: 0o777 });
      takeOver(kept, join(this.directory, task, 'local'));
    }
  }

  /**
   * The hook task_dir: TaskDir.Build before a task's first start, TaskDir.MakeSecretsDirs alone before every other one,
   * after a restart of the client too.
   * @param secrets files that the first one finds in secrets/
   */
  async buildTask(task: string, secrets: Readonly<Record<string, string>> = {}): Promise<TaskDir> {
    const dirs = this.#dirsOf(task);
    const isFirst = !this.#built.has(task);
    if (isFirst) {
      for (const path of [dirs.directory, dirs.local]) openToAll(path);
      openToAll(join(dirs.directory, 'tmp'), 0o1777);
    }
    this.#built.add(task);
    for (const path of [dirs.secrets, dirs.private]) await makeSecretsDir(path);
    if (isFirst)
      for (const [name, content] of Object.entries(secrets)) writeFileSync(join(dirs.secrets, name), content);
    return dirs;
  }

  /** AllocDir.Destroy: unmounts secrets/ and private/ of every task and removes the directory. */
  async destroy(): Promise<void> {
    for (const task of this.#built) {
      const { secrets, private: own } = this.#dirsOf(task);
      for (const path of [secrets, own]) await removeSecretsDir(path);
    }
    this.#built.clear();
    rmSync(this.directory, { recursive: true, force: true });
  }

  #dirsOf(task: string): TaskDir {
    const directory = join(this.directory, task);
    return {
      directory,
      local: join(directory, 'local'),
      secrets: join(directory, 'secrets'),
      private: join(directory, 'private'),
    };
  }
}

/** allocMkdirAll: made where it is missing, and opened to all in any case. */
function openToAll(directory: string, mode = 0o777): void {
  mkdirSync(directory, { recursive: true });
  chmodSync(directory, mode);
  chownSync(directory, NOBODY, NOBODY);
}

function takeOver(from: string, to: string): void {
  if (!existsSync(from)) return;
  if (existsSync(to)) rmdirSync(to);
  renameSync(from, to);
}

/** allocMakeSecretsDir: a tmpfs of 1 MiB, mounted where the path leads unless the marker is there. */
async function makeSecretsDir(path: string): Promise<void> {
  mkdirSync(path, { recursive: true });
  const marker = join(path, SECRET_MARKER);
  if (!existsSync(marker)) {
    // As the system call: without helpers, and with symlinks left to the kernel.
    await mustRun(['mount', '-i', '-c', '-t', 'tmpfs', '-o', 'size=1m,noexec', 'tmpfs', path]);
    writeFileSync(marker, '', { mode: 0o666 });
  }
  openToAll(path);
}

/** removeSecretDir: unmounts what the path leads to; that nothing is mounted there is no error. */
async function removeSecretsDir(path: string): Promise<void> {
  if (!existsSync(path)) return;
  const { code, stderr } = await runCommand(['umount', '-i', '-c', path]);
  if (code !== 0 && !/not mounted|no mount point/.test(stderr)) throw new Error(`umount ${path}: ${stderr}`);
  rmSync(path, { recursive: true, force: true });
}
