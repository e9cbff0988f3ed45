import { chmodSync, chownSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun } from '../command.ts';

const NOBODY = 65534;

/** The directories of one task, as Nomad lays them out. */
export interface TaskDir {
  readonly directory: string;
  readonly local: string;
  readonly secrets: string;
  readonly private: string;
}

/** `<alloc_dir>/<allocation id>` as Nomad's client makes it and takes it away. */
export class AllocDir {
  readonly directory: string;
  /** What tasks see as /alloc. */
  readonly shared: string;
  readonly logs: string;
  readonly #mounts: string[] = [];

  constructor(allocDir: string, id: string) {
    this.directory = join(allocDir, id);
    this.shared = join(this.directory, 'alloc');
    this.logs = join(this.shared, 'logs');
  }

  /** The root 0755 root, what lies in it 0777 nobody. */
  build(): void {
    mkdirSync(this.directory, { mode: 0o755 });
    for (const directory of [this.shared, this.logs, join(this.shared, 'tmp'), join(this.shared, 'data')]) {
      openToAll(directory);
    }
  }

  /** Takes over what an earlier allocation's tasks kept, as AllocDir.Move in Nomad's client/allocdir does: by renaming. */
  move(earlier: AllocDir, tasks: readonly string[]): void {
    const data = join(this.shared, 'data');
    rmSync(data, { recursive: true });
    renameSync(join(earlier.shared, 'data'), data);
    for (const task of tasks) {
      const kept = join(earlier.directory, task, 'local');
      if (!existsSync(kept)) continue;
      openToAll(join(this.directory, task));
      renameSync(kept, join(this.directory, task, 'local'));
    }
  }

  /** The task's directories, and a tmpfs of 1 MiB on secrets/ and on private/. Made again it only mounts what is missing. */
  async buildTask(task: string, secrets: Readonly<Record<string, string>>): Promise<TaskDir> {
    const directory = join(this.directory, task);
    const dirs = {
      directory,
      local: join(directory, 'local'),
      secrets: join(directory, 'secrets'),
      private: join(directory, 'private'),
    };
    if (existsSync(dirs.secrets)) return dirs;
    for (const path of [directory, dirs.local, join(directory, 'tmp')]) openToAll(path);
    for (const path of [dirs.secrets, dirs.private]) {
      mkdirSync(path, { recursive: true });
      await mustRun(['mount', '-t', 'tmpfs', '-o', 'size=1m,noexec', 'tmpfs', path]);
      this.#mounts.push(path);
    }
    chmodSync(dirs.secrets, 0o777);
    chownSync(dirs.secrets, NOBODY, NOBODY);
    chmodSync(dirs.private, 0o700);
    for (const [name, content] of Object.entries(secrets)) writeFileSync(join(dirs.secrets, name), content);
    return dirs;
  }

  /** Unmounts secrets/ and private/ of every task and removes the directory. */
  async destroy(): Promise<void> {
    for (const path of this.#mounts.splice(0)) await mustRun(['umount', path]);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function openToAll(directory: string): void {
  mkdirSync(directory, { recursive: true });
  chmodSync(directory, 0o777);
  chownSync(directory, NOBODY, NOBODY);
}
