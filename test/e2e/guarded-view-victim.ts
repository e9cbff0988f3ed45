import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mountsBelow } from '../support/leftovers.ts';
import type { Sandbox } from '../support/sandbox.ts';

let made = 0;

/** What attacks aim at: a directory and a file of root's, outside of all that Nomad and the agent have. */
export class Victim {
  /** 0755 root, with the file and a directory in it. */
  readonly directory: string;
  /** 0600 root. */
  readonly file: string;
  readonly #before: readonly string[];

  constructor(sandbox: Sandbox) {
    this.directory = join(sandbox.directory, `victim-${made++}`);
    this.file = join(this.directory, 'shadow');
    mkdirSync(join(this.directory, 'local'), { recursive: true, mode: 0o755 });
    writeFileSync(this.file, 'root:*:20000::::::\n', { mode: 0o600 });
    this.#before = this.#state();
  }

  /** What is not as it was made, in words: modes, owners, contents, entries, and mounts in any mount namespace. */
  changes(): string[] {
    const now = this.#state();
    const gone = this.#before.filter((line) => !now.includes(line)).map((line) => `was: ${line}`);
    return [...gone, ...now.filter((line) => !this.#before.includes(line)).map((line) => `is: ${line}`)];
  }

  #state(): string[] {
    const below = readdirSync(this.directory, { recursive: true, encoding: 'utf8' });
    const mounts = mountsBelow(this.directory).map(
      ({ fsType, mountPoint, namespace }) => `${fsType} mounted at ${mountPoint} in ${namespace}`,
    );
    return [...['.', ...below].map((name) => described(join(this.directory, name))), ...mounts];
  }
}

/**
 * The directories of an allocation in which root looks up names, and the alloc dir: their entries in words. What alloc/data,
 * alloc/tmp and local/ hold is the tasks' own; so is what log files and FIFOs hold.
 */
export function guardedEntries(allocDir: string, id: string, tasks: readonly string[]): string[] {
  const root = join(allocDir, id);
  const directories = [allocDir, root, ...['alloc', 'alloc/logs', ...tasks].map((name) => join(root, name))];
  const hidden = tasks.flatMap((task) => ['secrets', 'private'].map((name) => join(root, task, name)));
  return [
    ...directories.flatMap((directory) => entriesOf(directory).map(described)),
    ...hidden.flatMap((directory) => entriesOf(directory).map((path) => `${described(path)} ${contentOf(path)}`)),
  ].sort();
}

/** None where the directory itself is gone, which then misses among the entries of the one above. */
function entriesOf(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory).map((name) => join(directory, name));
}

function described(path: string): string {
  const { mode, uid, gid, size } = lstatSync(path);
  const content = path.endsWith('/shadow') ? ` ${size} ${contentOf(path)}` : '';
  return `${path} ${mode.toString(8)} ${uid}:${gid}${content}`;
}

function contentOf(path: string): string {
  return lstatSync(path).isFile() ? JSON.stringify(readFileSync(path, 'latin1').slice(0, 200)) : '';
}
