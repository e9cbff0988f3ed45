import * as z from 'zod';
import { ParseError } from '../errors.ts';
import { duplicateKey } from './duplicate-key.ts';

/**
 * An object whose known keys must be spelt as they are: Go's decoder takes `Mounts` and even `mountſ` for `mounts`
 * (encoding/json folds case as Unicode does), and we would check something else than Podman reads.
 */
export function exact<S extends z.ZodRawShape>(shape: S) {
  const known = new Map(Object.keys(shape).map((key) => [folded(key), key]));
  return z.looseObject(shape).check(({ value, issues }) => {
    for (const key of Object.keys(value)) {
      const name = known.get(folded(key));
      if (name === undefined || name === key) continue;
      issues.push({ code: 'custom', path: [key], input: key, message: `expected the spelling ${name}, got ${key}` });
    }
  });
}

const folded = (key: string) => key.toUpperCase().toLowerCase();
const text = z.string().nullish();
const texts = z.array(z.string()).nullish();
const namespace = exact({ nsmode: text, value: text }).nullish();
const devices = z.array(exact({ path: text })).nullish();

/** What names host paths in Podman's SpecGenerator (pkg/specgen/specgen.go, v3 to v5). */
const createBody = exact({
  name: z.string(),
  image: text,
  mounts: z.array(exact({ type: text, source: text, options: texts })).nullish(),
  overlay_volumes: z.array(exact({ source: text, options: texts })).nullish(),
  volumes: z.array(exact({ Options: texts })).nullish(),
  volumes_from: texts,
  rootfs: text,
  init_path: text,
  conmon_pid_file: text,
  seccomp_profile_path: text,
  base_hosts_file: text,
  log_configuration: exact({ path: text }).nullish(),
  devices,
  host_device_list: devices,
  netns: namespace,
  ipcns: namespace,
  pidns: namespace,
  utsns: namespace,
  userns: namespace,
  cgroupns: namespace,
  sysctl: z.record(z.string(), z.string()).nullish(),
});
/** The body of a container create, as far as the gate reads it. */
export type CreateBody = z.infer<typeof createBody>;

/**
 * Reads the body of a container create.
 * @throws ParseError where it is no JSON of the form that Podman takes, or can be read in two ways
 */
export function parseCreateBody(bytes: Buffer): CreateBody {
  let json: string;
  let value: unknown;
  try {
    json = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    value = JSON.parse(json);
  } catch (error) {
    // Without the cause: its message quotes the body, which may hold secrets.
    throw new ParseError(
      'container create',
      'a JSON object in UTF-8',
      error instanceof SyntaxError ? 'no JSON' : 'no UTF-8',
    );
  }
  const twice = duplicateKey(json);
  if (twice !== undefined) throw new ParseError('container create', 'each key once', `${JSON.stringify(twice)} twice`);
  const result = createBody.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new ParseError(
    `container create, ${issue?.path.join('.') || 'body'}`,
    "Podman's form",
    issue?.message ?? 'another',
  );
}

/** A path on the host that a create names. */
export interface HostPath {
  /** The field, such as `mounts.0.source`. */
  readonly where: string;
  readonly path: string;
  /** Whether it decides which allocation the container is for. */
  readonly isMount: boolean;
  /** Whether it is a mount that the container cannot write to. */
  readonly readOnly: boolean;
  /** Whether Podman is to label it for this container alone: option Z of podman-run(1). */
  readonly isPrivate: boolean;
}

const NO_MOUNT = { isMount: false, readOnly: false, isPrivate: false } as const;

/** Every host path that the create names. Mount sources come first: they say whose everything after them has to be. */
export function* hostPaths(body: CreateBody): Generator<HostPath> {
  for (const [index, { type, source, options }] of (body.mounts ?? []).entries()) {
    const readOnly = (options ?? []).includes('ro') && !(options ?? []).includes('rw');
    const isPrivate = (options ?? []).includes('Z');
    const isWord = source === undefined || source === null || !source.includes('/');
    const isBind =
      !isWord || type === 'bind' || (options ?? []).some((option) => option === 'bind' || option === 'rbind');
    // "tmpfs", "proc", "devpts": the sources of filesystems that have no place on the host.
    if (isBind) yield { where: `mounts.${index}.source`, path: source ?? '', isMount: true, readOnly, isPrivate };
  }
  for (const [index, mount] of (body.mounts ?? []).entries()) yield* optionPaths(`mounts.${index}`, mount.options);
  for (const [index, { source, options }] of (body.overlay_volumes ?? []).entries()) {
    yield { where: `overlay_volumes.${index}.source`, path: source ?? '', ...NO_MOUNT };
    yield* optionPaths(`overlay_volumes.${index}`, options);
  }
  for (const [index, { Options }] of (body.volumes ?? []).entries()) yield* optionPaths(`volumes.${index}`, Options);
  for (const list of ['devices', 'host_device_list'] as const) {
    for (const [index, { path }] of (body[list] ?? []).entries()) {
      // Others are names of devices in the Container Device Interface, such as nvidia.com/gpu=all.
      if (path?.startsWith('/')) yield { where: `${list}.${index}.path`, path, ...NO_MOUNT };
    }
  }
  for (const key of ['rootfs', 'init_path', 'conmon_pid_file', 'seccomp_profile_path', 'base_hosts_file'] as const) {
    const path = body[key];
    if (path) yield { where: key, path, ...NO_MOUNT };
  }
  const log = body.log_configuration?.path;
  if (log) yield { where: 'log_configuration.path', path: log, ...NO_MOUNT };
  for (const key of ['netns', 'ipcns', 'pidns', 'utsns', 'userns', 'cgroupns'] as const) {
    if (body[key]?.nsmode === 'path') yield { where: `${key}.value`, path: body[key].value ?? '', ...NO_MOUNT };
  }
}

/** Options of overlay mounts name directories too: `upperdir=/…`, `lowerdir=/…:/…`. */
function* optionPaths(where: string, options: readonly string[] | null | undefined): Generator<HostPath> {
  for (const option of options ?? []) {
    const [, list = ''] = /^(?:upperdir|workdir|lowerdir)=(.*)$/is.exec(option) ?? [];
    for (const path of list.split(':')) if (path) yield { where: `${where}.options`, path, ...NO_MOUNT };
  }
}
