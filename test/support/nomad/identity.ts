import { chownSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A workload identity of a task's, beside the default one, whose token Nomad writes to a file and renews in time. */
export interface IdentitySpec {
  readonly name: string;
  readonly ttlMs: number;
  /** Below the task's directory; `secrets/nomad_<name>.jwt` unless told. */
  readonly filepath?: string;
}

/** The identities of a task as the API has them. */
export function identitiesBlock(identity: IdentitySpec | undefined): object[] | null {
  if (!identity) return null;
  const { name, ttlMs, filepath = '' } = identity;
  return [{ Name: name, Audience: ['test'], File: true, Filepath: filepath, TTL: ttlMs * 1e6 }];
}

/** The token file of an identity, written before the task starts and at half of each life (hook identity of Nomad's task runner). */
export class TokenFile {
  readonly #path: string;
  readonly #user: string;
  readonly #ttlMs: number;
  #renewals = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(taskDirectory: string, { name, ttlMs, filepath }: IdentitySpec, user = '') {
    this.#path = join(taskDirectory, filepath ?? `secrets/nomad_${name}.jwt`);
    this.#user = user;
    this.#ttlMs = ttlMs;
  }

  start(): void {
    this.#write();
    this.#timer ??= setInterval(() => this.#write(), this.#ttlMs / 2);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** What cannot be written is logged in Nomad, and the token stays as it is. */
  #write(): void {
    try {
      writeFileFor(this.#path, `token.${this.#renewals++}`, this.#user);
    } catch (error) {
      if (this.#timer === undefined) throw error;
    }
  }
}

/** As WriteFileFor in Nomad's helper/users/lookup.go: by path, and it follows; given to the task's user where there is one of that name. */
function writeFileFor(path: string, content: string, user: string): void {
  const uid = user === '' ? undefined : uidOf(user);
  if (uid !== undefined) {
    try {
      writeFileSync(path, content, { mode: 0o600 });
      chownSync(path, uid, -1);
      return;
    } catch {
      rmSync(path, { force: true });
    }
  }
  writeFileSync(path, content, { mode: 0o666 });
}

function uidOf(user: string): number | undefined {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${user}:`));
  return line === undefined ? undefined : Number(line.split(':')[2]);
}
