import type { PolicyEntry } from '../model/policy.ts';

/** Read where no other file is named; may be missing. */
export const DEFAULT_FILE = '/etc/nomad-rootless/config.yaml';

/** Keys whose value is never shown. */
export const SECRETS: ReadonlySet<string> = new Set(['nomad.token']);

/** The effective configuration. Durations are in milliseconds, paths are absolute. What a key is for: docs/configuration.md. */
export interface Config {
  readonly nomad: NomadConfig;
  /** The key in a job's, group's or task's meta that names the user. */
  readonly metaKey: string;
  /** Users with a lower uid are refused. */
  readonly minUid: number;
  readonly ordering: 'gate' | 'watch';
  /** Whether local/ and secrets/ show the ids on disk as those of the user's containers. */
  readonly idmap: 'auto' | 'off';
  /** How users get rights on dynamic host volumes that their allocations claim. */
  readonly volumes: 'none' | 'acl' | 'idmap';
  readonly gate: { readonly dir: string; readonly timeoutMs: number };
  /** By user name; the users that have a gate. */
  readonly users: ReadonlyMap<string, UserConfig>;
  /** Which jobs may run as which of these users; undefined: all as all. */
  readonly policy: readonly PolicyEntry[] | undefined;
  readonly metrics: {
    /** undefined: no metrics server. */
    readonly address: ListenAddress | undefined;
    /** Who may connect where it is a unix socket, beside root: a group's name or gid. */
    readonly group: string | undefined;
    /** Whether jobs and allocations are named there. */
    readonly names: boolean;
  };
  readonly admin: { /** Path of the unix socket. */ readonly socket: string };
  readonly stateDir: string;
  readonly resyncIntervalMs: number;
  /** How long what an allocation has left behind is left before it is removed; undefined: for ever. */
  readonly removeGhostsAfterMs: number | undefined;
  readonly log: { readonly level: LogLevel; readonly format: 'auto' | 'json' | 'pretty' };
}

/** How to reach Nomad, and what Nomad's agent/self says unless it is set here. */
export interface NomadConfig {
  /** `http://`, `https://`, `unix:///path` or `https+unix:///path`. */
  readonly address: string;
  /** At most one of `token` and `tokenFile` is set. */
  readonly token: string | undefined;
  readonly tokenFile: string | undefined;
  readonly caCert: string | undefined;
  /** Set together with `clientKey`, or neither is. */
  readonly clientCert: string | undefined;
  readonly clientKey: string | undefined;
  readonly tlsServerName: string | undefined;
  readonly skipVerify: boolean;
  readonly dataDir: string | undefined;
  readonly allocDir: string | undefined;
  readonly nodeId: string | undefined;
}

/** One user's settings; `socket` undefined stands for /run/user/UID/podman/podman.sock. */
interface UserConfig {
  readonly socket: string | undefined;
}

/** Where a server listens: on TCP, `host` without the brackets of an IPv6 literal, or at the path of a unix socket. */
export type ListenAddress = { readonly host: string; readonly port: number } | { readonly socket: string };

/** pino's level names, and "silent". */
type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
