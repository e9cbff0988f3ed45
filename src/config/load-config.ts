import { failedWith, RefusedError } from '../errors.ts';
import { readTextIfThere } from '../linux/read-file.ts';
import { type Config, DEFAULT_FILE } from './config.ts';
import { ConfigError, describeIssues } from './config-error.ts';
import { parseDuration } from './duration.ts';
import { ENVIRONMENT, valuesFromEnvironment } from './environment.ts';
import { parseListenAddress } from './listen-address.ts';
import { CONFIG_KEYS, CONFIG_SECTIONS, type FileConfig, FileSchema, isOff } from './schema.ts';
import { parseYaml, type YamlSource } from './yaml-source.ts';

const MAX_FILE_BYTES = 1024 * 1024;

/** Where a value comes from. */
type Origin = 'default' | 'file' | 'env';

/** What loadConfig found. `values` and `origin` are by key path as written in the file ("gate.timeout"), for people. */
export interface LoadedConfig {
  readonly config: Config;
  /** The file that was read; undefined where the default one is not there. */
  readonly file: string | undefined;
  readonly values: ReadonlyMap<string, unknown>;
  readonly origin: ReadonlyMap<string, Origin>;
}

/**
 * The configuration: defaults, then the file, then the environment.
 * @param options.file the file to read instead of the default one; it has to be there
 * @param options.env such as process.env
 * @throws ConfigError with all that is wrong; RefusedError where the file is missing, too large or unreadable, `not_root` where root alone may read it
 */
export function loadConfig(options: {
  file?: string | undefined;
  env: Readonly<Record<string, string | undefined>>;
}): LoadedConfig {
  const path = options.file ?? DEFAULT_FILE;
  const text = readText(path);
  if (text === undefined && options.file !== undefined) {
    throw new RefusedError('config_missing', `${path}: expected a configuration file, got nothing; check --config`);
  }
  const source = parseYaml(text ?? '');
  if (source.problems.length > 0) {
    throw new ConfigError(source.problems.map(({ line, message }) => `${path}:${line}: expected YAML: ${message}`));
  }

  const written = withSections(source.value);
  const fromEnvironment = valuesFromEnvironment(options.env);
  const tree = overlay(written, fromEnvironment);
  const result = FileSchema.safeParse(tree);
  if (!result.success) {
    const where = (at: readonly PropertyKey[]) => whereIs(at, path, source, fromEnvironment);
    throw new ConfigError(describeIssues(result.error.issues, tree, where));
  }
  const origin = (at: readonly string[]): Origin => {
    if (fromEnvironment.has(at.join('.'))) return 'env';
    return valueAt(tree, at) === undefined ? 'default' : 'file';
  };
  const paths = pathsOf(result.data);
  return {
    config: toConfig(result.data),
    file: text === undefined ? undefined : path,
    values: new Map(paths.map((at) => [at.join('.'), valueAt(result.data, at)])),
    origin: new Map(paths.map((at) => [at.join('.'), origin(at)])),
  };
}

/** The file may hold a token, and then nobody but root is to read it: who is not root hears that, and not only `EACCES`. */
function readText(path: string): string | undefined {
  try {
    return readTextIfThere(path, MAX_FILE_BYTES);
  } catch (error) {
    const cause = error instanceof RefusedError ? error.cause : undefined;
    const isDenied = failedWith(cause, 'EACCES');
    if (!isDenied || process.getuid?.() === 0) throw error;
    throw new RefusedError('not_root', `${path}: only root may read the configuration; use sudo`, cause);
  }
}

/** Sections and users that are missing or empty (`gate:` and nothing below it) are the same as `{}`. */
function withSections(value: unknown): unknown {
  const root = value ?? {};
  if (!isMapping(root)) return root;
  const sections = [...CONFIG_SECTIONS, 'users'].map((name) => [name, root[name] ?? {}] as const);
  const tree: Record<string, unknown> = { ...root, ...Object.fromEntries(sections) };
  const users = tree['users'];
  if (isMapping(users)) {
    tree['users'] = Object.fromEntries(Object.entries(users).map(([name, settings]) => [name, settings ?? {}]));
  }
  return tree;
}

/** NOMAD_TOKEN also puts a token_file of the file aside: a token is a token, and the environment wins. */
function overlay(tree: unknown, fromEnvironment: ReadonlyMap<string, unknown>): unknown {
  if (!isMapping(tree) || !isMapping(tree['nomad'])) return tree;
  const nomad: Record<string, unknown> = { ...tree['nomad'] };
  for (const [key, value] of fromEnvironment) nomad[key.replace('nomad.', '')] = value;
  if (fromEnvironment.has('nomad.token')) delete nomad['token_file'];
  return { ...tree, nomad };
}

function whereIs(
  at: readonly PropertyKey[],
  file: string,
  source: YamlSource,
  fromEnvironment: ReadonlyMap<string, unknown>,
): string {
  const key = at.join('.');
  if (fromEnvironment.has(key)) return ENVIRONMENT[key] ?? key;
  const line = source.lineOf(at);
  return [line === undefined ? file : `${file}:${line}`, ...(key === '' ? [] : [key])].join(': ');
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function valueAt(tree: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce((inner: unknown, key) => (isMapping(inner) ? inner[String(key)] : undefined), tree);
}

/** The paths of all keys that have one value; each user's socket is one. */
function pathsOf(file: FileConfig): string[][] {
  const keys = CONFIG_KEYS.filter((key) => key !== 'users').map((key) => key.split('.'));
  return [...keys, ...Object.keys(file.users).map((name) => ['users', name, 'socket'])];
}

function toConfig({ nomad, gate, users, metrics, admin, log, ...file }: FileConfig): Config {
  return {
    nomad: {
      address: nomad.address,
      token: nomad.token,
      tokenFile: nomad.token_file,
      caCert: nomad.ca_cert,
      clientCert: nomad.client_cert,
      clientKey: nomad.client_key,
      tlsServerName: nomad.tls_server_name,
      skipVerify: nomad.skip_verify,
      dataDir: nomad.data_dir,
      allocDir: nomad.alloc_dir,
      nodeId: nomad.node_id,
    },
    metaKey: file.meta_key,
    minUid: file.min_uid,
    idmap: file.idmap,
    ordering: file.ordering,
    volumes: file.volumes,
    gate: { dir: gate.dir, timeoutMs: milliseconds(gate.timeout) },
    policy: file.policy?.map(({ host_paths: hostPaths, users, ...entry }) => ({
      ...entry,
      users: new Set(users),
      hostPaths,
    })),
    users: new Map(Object.entries(users).map(([name, { socket }]) => [name, { socket }])),
    metrics: toMetrics(metrics),
    admin,
    stateDir: file.state_dir,
    resyncIntervalMs: milliseconds(file.resync_interval),
    removeGhostsAfterMs: file.remove_ghosts_after === 'off' ? undefined : milliseconds(file.remove_ghosts_after),
    log,
  };
}

/** On TCP any local user can ask: jobs and allocations are named there only where the operator says so. */
function toMetrics({ address: text, group, names }: FileConfig['metrics']): Config['metrics'] {
  const address = isOff(text) ? undefined : parseListenAddress(text);
  return { address, group, names: names ?? (address !== undefined && 'socket' in address) };
}

function milliseconds(checked: string): number {
  const ms = parseDuration(checked);
  if (ms === undefined) throw new TypeError(`the schema let a duration through that is none: ${checked}`);
  return ms;
}
