import type { Config } from './config.ts';

/** The keys that take effect while the agent runs, as they are written in the file. */
const LIVE: Readonly<Record<string, true>> = {
  users: true,
  policy: true,
  'nomad.token': true,
  'nomad.token_file': true,
  'log.level': true,
};

/**
 * A configuration that can be read again while the agent runs. Who works with `config` reads users, policy, tokens and the
 * log's level each time they are needed, and so follows a change; everything else stays as it was at the start.
 */
export class LiveConfig {
  readonly config: Config;
  #current: Config;
  #values: ReadonlyMap<string, unknown>;

  /** @param values by key as written in the file: loadConfig's */
  constructor(first: Config, values: ReadonlyMap<string, unknown>) {
    this.#current = first;
    this.#values = values;
    const current = () => this.#current;
    this.config = {
      ...first,
      get users() {
        return current().users;
      },
      get policy() {
        return current().policy;
      },
      nomad: {
        ...first.nomad,
        get token() {
          return current().nomad.token;
        },
        get tokenFile() {
          return current().nomad.tokenFile;
        },
      },
      log: {
        ...first.log,
        get level() {
          return current().log.level;
        },
      },
    };
  }

  /** Takes the next configuration. @returns the keys that differ and take effect only when the agent starts again */
  replace(next: Config, values: ReadonlyMap<string, unknown>): string[] {
    const keys = [...values.keys()].filter((key) => !(key in LIVE) && !key.startsWith('users.'));
    const late = keys.filter((key) => JSON.stringify(values.get(key)) !== JSON.stringify(this.#values.get(key)));
    this.#current = next;
    return late;
  }
}
