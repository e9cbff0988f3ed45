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
  'no key access: users are shown their allocations by mounts alone, since a data dir that a user can enter cannot be closed to the subordinate ids of that user; remove it';

/** Checks between keys run whatever else is wrong: all problems are reported at once. */
const always = { when: () => true };

const nomad = section({
  address: text('http://host:port, https://host:port, unix:///path or https+unix:///path', isNomadAddress)
    .default('http://127.0.0.1:4646')
    .describe('Address of the Nomad agent on this node. With `https+unix:` TLS is spoken over the socket.'),
  token: someText.optional().describe('ACL token. Set either this key or `nomad.token_file`.'),
  token_file: absolutePath
    .optional()
    .describe('File that holds the ACL token. It is read again for each request. `NOMAD_TOKEN` overrides it, too.'),
  ca_cert: absolutePath
    .optional()
    .describe("CA certificate that Nomad's certificate is verified against. Read again for each request."),
  client_cert: absolutePath
    .optional()
    .describe('Client certificate presented to Nomad; needs `nomad.client_key`. Read again for each request.'),
  client_key: absolutePath.optional().describe('Private key of `nomad.client_cert`. Read again for each request.'),
  tls_server_name: someText.optional().describe("Server name to expect in Nomad's certificate."),
  skip_verify: z
    .boolean({ error: 'true or false' })
    .default(false)
    .describe("Do not verify Nomad's certificate. For trials only: whoever answers decides who may read what."),
  data_dir: absolutePath.optional().describe("Nomad's `data_dir`, where it is not to be asked for it."),
  alloc_dir: absolutePath.optional().describe("Nomad's `alloc_dir`, where it is not to be asked for it."),
  node_id: z
    .guid({ error: "a node's id as `nomad node status -verbose` has it" })
    .toLowerCase()
    .optional()
    .describe("This node's id, where Nomad is not to be asked for it."),
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

/** An entry of `policy`. */
export const PolicyEntrySchema = section({
  namespace: pattern('a namespace').describe('Namespaces of Nomad that the entry applies to.'),
  jobs: pattern('the id of a job')
    .default('*')
    .describe('IDs of jobs that the entry applies to. A dispatched or periodic job goes by the ID of its parent.'),
  users: z.array(userName, { error: 'a list of user names' }).describe('Users whom these jobs may run as.'),
  host_paths: z
    .literal('all', { error: 'all, or no such key' })
    .optional()
    .describe('These jobs may name any path of the host. They then reach every allocation of their user.'),
});

/** The configuration file as it is written: snake_case keys, durations and addresses as text, and the defaults. Descriptions are Markdown: docs/configuration.md has them. */
export const FileSchema = section({
  nomad,
  meta_key: someText.default('podman_user').describe('Key in the meta of a job, group or task that names the user.'),
  min_uid: z
    .int({ error: 'a whole number above 0' })
    .min(1, { error: 'a whole number above 0' })
    .default(1000)
    .describe('Users with a lower uid are refused.'),
  access: z.literal('mount', { error: ACCESS_IS_GONE }).optional(),
  ordering: oneOf('gate', 'watch')
    .default('gate')
    .describe(
      'How an allocation is prepared before its containers are created; see [gate or watch](#ordering-gate-or-watch).',
    ),
  idmap: oneOf('auto', 'off')
    .default('auto')
    .describe(
      'Whether `local/` and `secrets/` are idmapped mounts: `auto` where kernel and filesystem can, `off` never; see [what a task sees](jobs.md#what-a-task-sees).',
    ),
  volumes: oneOf('none', 'acl', 'idmap')
    .default('none')
    .describe('How users get access to dynamic host volumes; see [volumes](volumes.md#dynamic-host-volumes).'),
  gate: section({
    dir: absolutePath
      .default('/run/nomad-rootless/gate')
      .describe('Directory of the gates: `<user>.sock` for each user. Created with mode 0700, owned by root.'),
    timeout: text(
      'a duration such as "30s", above 0 and below 60s (after 60s the driver gives up its request and does not see the reason)',
      isDurationOf((ms) => ms > 0 && ms < DRIVER_TIMEOUT_MS),
    )
      .default('30s')
      .describe('How long a create may be held.'),
  }),
  users: z
    .record(userName, section({ socket: socketPath.optional() }), {
      error: (issue) => (issue.code === 'invalid_type' ? 'a mapping of user names' : undefined),
    })
    .describe(
      'The users who have a gate on this node. `socket` of a user is the socket of their Podman, `/run/user/<uid>/podman/podman.sock` unless set.',
    ),
  policy: z
    .array(PolicyEntrySchema, { error: 'a list of {namespace, jobs, users, host_paths}' })
    .optional()
    .describe(
      'Which jobs may run as which users; see [policy](#policy). Without it every job may run as every user of `users`.',
    ),
  metrics: section({
    address: text(listenAddress, (value) => isOff(value) || isListenAddress(value))
      .default('127.0.0.1:4656')
      .describe(
        'Where the status page, `/metrics`, `/livez` and `/readyz` are served. A reverse proxy in front of a TCP address has to send `Host: localhost`.',
      ),
    group: groupName
      .optional()
      .describe('Group that may connect, beside root, where `metrics.address` is a unix socket: its name or gid.'),
    names: z
      .boolean({ error: 'true or false' })
      .optional()
      .describe(
        'Whether the status page and exemplars name jobs and allocations; by default only where `metrics.address` is a unix socket, since any local user can connect to a TCP port.',
      ),
  }),
  admin: section({
    socket: socketPath
      .default('/run/nomad-rootless/admin.sock')
      .describe('Socket on which `nomad-rootless status` and `nomad-rootless explain` reach the agent; root only.'),
  }),
  state_dir: absolutePath
    .default('/run/nomad-rootless/state')
    .describe('State that outlives a restart of the agent but not of the machine. One agent at a time can use it.'),
  resync_interval: text(
    'a duration such as "5m", at least 1s',
    isDurationOf((ms) => ms >= 1000),
  )
    .default('5m')
    .describe('How often all allocations of the node are listed and the event stream is opened again.'),
  remove_ghosts_after: text(
    'a duration such as "5m", at least 1s, or "off"',
    (value) => value === 'off' || isDurationOf((ms) => ms >= 1000)(value),
  )
    .default('5m')
    .describe(
      'How long a [ghost](operations.md#ghosts) stays after its allocation has ended. `off`: ghosts are reported and not removed.',
    ),
  log: section({
    level: oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent')
      .default('info')
      .describe('Messages below this level are not written. Changes with a reload.'),
    format: oneOf('auto', 'json', 'pretty')
      .default('auto')
      .describe('`json`: one object a line; `pretty`: for people; `auto`: for people on a terminal, else JSON.'),
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
