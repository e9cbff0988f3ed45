import * as z from 'zod';
import { parseDuration } from './duration.ts';
import { parseListenAddress } from './listen-address.ts';

/**
 * The driver gives up a request after `client_http_timeout`, 60 s by default: a create that is held for that long
 * fails without our reason ever being heard.
 */
const DRIVER_TIMEOUT_MS = 60_000;
/** sizeof(sockaddr_un.sun_path) less the closing NUL, unix(7). */
const MAX_SOCKET_PATH_BYTES = 107;

/**
 * What useradd(8) takes, and what directories add to that: upper case, dots and a realm. The name becomes part of the
 * gate's path: it cannot hold a slash, and cannot start with a dash or a dot.
 */
export const USER_NAME = /^[A-Za-z_][A-Za-z0-9_.@-]{0,63}\$?$/;

/** A text that holds to `test`. The message of every schema here says what was expected; the rest is added when it is reported. */
function text(expected: string, test: (value: string) => boolean) {
  return z.string({ error: expected }).refine(test, { error: expected });
}

function isAbsolutePath(value: string): boolean {
  return (
    value.startsWith('/') && !value.includes('\0') && !value.split('/').some((part) => part === '.' || part === '..')
  );
}

function isSocketPath(value: string): boolean {
  return isAbsolutePath(value) && Buffer.byteLength(value) <= MAX_SOCKET_PATH_BYTES;
}

function isNomadAddress(value: string): boolean {
  const [, socketPath] = /^(?:https\+)?unix:\/\/(.*)$/s.exec(value) ?? [];
  if (socketPath !== undefined) return isSocketPath(socketPath);
  return URL.canParse(value) && ['http:', 'https:'].includes(new URL(value).protocol);
}

function isDurationOf(accepts: (ms: number) => boolean) {
  return (value: string) => {
    const ms = parseDuration(value);
    return ms !== undefined && accepts(ms);
  };
}

function section<Shape extends z.ZodRawShape>(shape: Shape) {
  return z.strictObject(shape, { error: (issue) => (issue.code === 'invalid_type' ? 'a mapping of keys' : undefined) });
}

function oneOf<const Words extends readonly [string, ...string[]]>(...words: Words) {
  return z.enum(words, { error: `one of ${words.join(', ')}` });
}

const absolutePath = text('an absolute path without . and ..', isAbsolutePath);
const socketPath = text(
  `an absolute path without . and .., of at most ${MAX_SOCKET_PATH_BYTES} bytes (a socket's path cannot be longer)`,
  isSocketPath,
);
const someText = text('a text that is not empty', (value) => value.trim() !== '');
const listenAddress =
  'host:port (an IPv6 host in brackets), unix:///path (absolute, without . and .., at most 107 bytes), or "off"';

function isListenAddress(value: string): boolean {
  const address = parseListenAddress(value);
  return address !== undefined && (!('socket' in address) || isSocketPath(address.socket));
}

/** docs/decisions/0001-guarded-view.md. */
const ACCESS_IS_GONE =
  'no key access: users are shown their allocations by mounts alone, since a data dir that a user can enter cannot be shut to her subordinate ids; remove it';

/** Checks between keys run whatever else is wrong: all problems are reported at once. */
const always = { when: () => true };

const nomad = section({
  address: text('http://host:port, https://host:port, unix:///path or https+unix:///path', isNomadAddress).default(
    'http://127.0.0.1:4646',
  ),
  token: someText.optional(),
  token_file: absolutePath.optional(),
  ca_cert: absolutePath.optional(),
  client_cert: absolutePath.optional(),
  client_key: absolutePath.optional(),
  tls_server_name: someText.optional(),
  skip_verify: z.boolean({ error: 'true or false' }).default(false),
  data_dir: absolutePath.optional(),
  alloc_dir: absolutePath.optional(),
  node_id: z.guid({ error: "a node's id as `nomad node status -verbose` has it" }).toLowerCase().optional(),
})
  .refine((keys) => keys?.token === undefined || keys.token_file === undefined, {
    path: ['token_file'],
    error: 'only one of nomad.token and nomad.token_file',
    ...always,
  })
  .refine((keys) => (keys?.client_cert === undefined) === (keys?.client_key === undefined), {
    path: ['client_cert'],
    error: 'nomad.client_cert and nomad.client_key together, or neither',
    ...always,
  });

const userName = z
  .string({ error: 'a user name' })
  .regex(USER_NAME, { error: 'a user name: letters, digits, _ . @ -, the first a letter or _' });
const groupName = z
  .string({ error: "a group's name or gid" })
  .regex(/^(?:\d{1,10}|[A-Za-z_][A-Za-z0-9_.@-]{0,63})$/, { error: "a group's name or gid" });
const pattern = (of: string) => text(`${of}, where * stands for any text`, (value) => value !== '');

const policyEntry = section({
  namespace: pattern('a namespace'),
  jobs: pattern('the id of a job').default('*'),
  users: z.array(userName, { error: 'a list of user names' }),
  host_paths: z.literal('all', { error: 'all, or no such key' }).optional(),
});

/** The configuration file as it is written: snake_case keys, durations and addresses as text, and the defaults. */
export const FileSchema = section({
  nomad,
  meta_key: someText.default('podman_user'),
  min_uid: z.int({ error: 'a whole number above 0' }).min(1, { error: 'a whole number above 0' }).default(1000),
  access: z.literal('mount', { error: ACCESS_IS_GONE }).optional(),
  ordering: oneOf('gate', 'watch').default('gate'),
  idmap: oneOf('auto', 'off').default('auto'),
  volumes: oneOf('none', 'acl', 'idmap').default('none'),
  gate: section({
    dir: absolutePath.default('/run/nomad-rootless/gate'),
    timeout: text(
      'a duration such as "30s", above 0 and below 60s (the driver gives its request up after 60s, and our reason with it)',
      isDurationOf((ms) => ms > 0 && ms < DRIVER_TIMEOUT_MS),
    ).default('30s'),
  }),
  users: z.record(userName, section({ socket: socketPath.optional() }), {
    error: (issue) => (issue.code === 'invalid_type' ? 'a mapping of user names' : undefined),
  }),
  policy: z.array(policyEntry, { error: 'a list of {namespace, jobs, users, host_paths}' }).optional(),
  metrics: section({
    address: text(listenAddress, (value) => isOff(value) || isListenAddress(value)).default('127.0.0.1:4656'),
    group: groupName.optional(),
    names: z.boolean({ error: 'true or false' }).optional(),
  }),
  admin: section({ socket: socketPath.default('/run/nomad-rootless/admin.sock') }),
  state_dir: absolutePath.default('/run/nomad-rootless/state'),
  resync_interval: text(
    'a duration such as "5m", at least 1s',
    isDurationOf((ms) => ms >= 1000),
  ).default('5m'),
  remove_ghosts_after: text(
    'a duration such as "5m", at least 1s, or "off"',
    (value) => value === 'off' || isDurationOf((ms) => ms >= 1000)(value),
  ).default('5m'),
  log: section({
    level: oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent').default('info'),
    format: oneOf('auto', 'json', 'pretty').default('auto'),
  }),
}).superRefine((file, context) => {
  const configured = Object.keys(Object(file?.users));
  for (const [at, entry] of [...(Array.isArray(file?.policy) ? file.policy : [])].entries()) {
    for (const [index, user] of [...(Array.isArray(entry?.users) ? entry.users : [])].entries()) {
      if (configured.includes(user)) continue;
      const message = `one of users (${configured.join(', ') || 'none there'})`;
      context.addIssue({ code: 'custom', path: ['policy', at, 'users', index], message });
    }
  }
  for (const user of configured) {
    const path = `${file.gate?.dir}/${user}.sock`;
    if (Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES) continue;
    const message = `a name short enough for the gate's path ${path} to have at most ${MAX_SOCKET_PATH_BYTES} bytes`;
    context.addIssue({ code: 'custom', path: ['users', user], message });
  }
});

/** The checked file, defaults filled in. */
export type FileConfig = z.output<typeof FileSchema>;

/** Whether a metrics address says that there is to be no metrics server. */
export function isOff(address: string): boolean {
  return address === '' || address === 'off';
}

/** The paths of all keys, as "gate.timeout"; `users` counts as one. Not `access`, which has nothing to say any more. */
export const CONFIG_KEYS: readonly string[] = leaves(FileSchema, '').filter((key) => key !== 'access');
/** The keys that hold other keys. */
export const CONFIG_SECTIONS: readonly string[] = Object.entries(FileSchema.shape)
  .filter(([, schema]) => schema instanceof z.ZodObject)
  .map(([key]) => key);

function leaves(schema: z.ZodObject, prefix: string): string[] {
  return Object.entries(schema.shape).flatMap(([key, inner]) =>
    inner instanceof z.ZodObject ? leaves(inner, `${prefix}${key}.`) : [prefix + key],
  );
}
