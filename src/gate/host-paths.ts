import { RefusedError } from '../errors.ts';
import { type CreateBody, NAMESPACES } from './create-body.ts';

/** A path on the host that a create names. */
export interface HostPath {
  /** The field, such as `mounts.0.source`. */
  readonly where: string;
  /** As the create has it: relative to the directory that Podman's service runs in, where it does not begin with a slash. */
  readonly path: string;
  /** Whether it decides which allocation the container is for. */
  readonly isMount: boolean;
  /** The options of a mount. */
  readonly options: readonly string[];
}

/** As many as fit into the arguments of one program, which looks where they lead: 1 MiB of the 2 MiB that Linux grants. */
const MOST_PATHS = 256;

/** What Podman takes for these fields beside a path. */
const WORDS: Readonly<Record<string, readonly string[]>> = {
  // pkg/specgen/generate/security_linux.go
  seccomp_profile_path: ['unconfined'],
  // libnetwork/etchosts/util.go of containers/common
  base_hosts_file: ['none', 'image'],
  // libpod/define/healthchecks.go
  healthLogDestination: ['local', 'events_logger'],
};
const PATH_FIELDS = ['init_path', 'conmon_pid_file', 'seccomp_profile_path', 'base_hosts_file', 'healthLogDestination'];

/** The names of devices in the Container Device Interface, such as nvidia.com/gpu=all. What it takes for one and CDI does not has no "..". */
const CDI_DEVICE = /^[A-Za-z][\w.-]*\/[A-Za-z][\w.-]*=[\w.:-]+$/;

/**
 * Every host path that the create names. Mount sources come first: they say whose everything after them has to be.
 * @throws RefusedError `too_many_paths`
 */
export function hostPaths(body: CreateBody): HostPath[] {
  const paths: HostPath[] = [];
  for (const path of namedPaths(body)) {
    if (paths.push(path) <= MOST_PATHS) continue;
    throw new RefusedError('too_many_paths', `the create names more than ${MOST_PATHS} paths of the host`);
  }
  return paths;
}

function* namedPaths(body: CreateBody): Generator<HostPath> {
  const other = { isMount: false, options: [] } as const;
  for (const [index, { type, source, options }] of (body.mounts ?? []).entries()) {
    const isWord = source === undefined || source === null || !source.includes('/');
    const isBind =
      !isWord || type === 'bind' || (options ?? []).some((option) => option === 'bind' || option === 'rbind');
    // "tmpfs", "proc", "devpts": the sources of filesystems that have no place on the host.
    if (isBind) yield { where: `mounts.${index}.source`, path: source ?? '', isMount: true, options: options ?? [] };
  }
  for (const [index, mount] of (body.mounts ?? []).entries()) yield* optionPaths(`mounts.${index}`, mount.options);
  for (const [index, { source, options }] of (body.overlay_volumes ?? []).entries()) {
    yield { where: `overlay_volumes.${index}.source`, path: source ?? '', ...other };
    yield* optionPaths(`overlay_volumes.${index}`, options);
  }
  for (const [index, { Options }] of (body.volumes ?? []).entries()) yield* optionPaths(`volumes.${index}`, Options);
  for (const list of ['devices', 'host_device_list'] as const) {
    for (const [index, device] of (body[list] ?? []).entries()) {
      const path = device.path ?? '';
      // A colon, the path in the container and permissions may follow.
      if (!CDI_DEVICE.test(path)) yield { where: `${list}.${index}.path`, path: path.split(':', 1)[0] ?? '', ...other };
    }
  }
  for (const where of PATH_FIELDS) {
    const path = body[where];
    if (typeof path === 'string' && path !== '' && !WORDS[where]?.includes(path)) yield { where, path, ...other };
  }
  const { path: log, options: logOptions } = body.log_configuration ?? {};
  if (log) yield { where: 'log_configuration.path', path: log, ...other };
  // The driver hands on what the job says; Podman up to 6.0 reads none but `tag`.
  if (logOptions?.path) yield { where: 'log_configuration.options.path', path: logOptions.path, ...other };
  for (const key of ['PasswdFile', 'GroupFile'] as const) {
    const path = body.idmappings?.AutoUserNsOpts?.[key];
    if (path) yield { where: `idmappings.AutoUserNsOpts.${key}`, path, ...other };
  }
  if (body.timezone) yield { where: 'timezone', path: `/usr/share/zoneinfo/${body.timezone}`, ...other };
  // With capabilities of its own the container goes by /proc of the host where its user does.
  if (body.pidns?.nsmode === 'host') yield { where: 'pidns.nsmode = "host"', path: '/proc', ...other };
  for (const key of NAMESPACES) {
    // The network namespace has a rule of its own: only that of the allocation.
    if (key !== 'netns' && body[key]?.nsmode === 'path') {
      yield { where: `${key}.value`, path: body[key].value ?? '', ...other };
    }
  }
}

/**
 * Options of overlay mounts name directories too: `upperdir=/…`, `lowerdir=/…:/…`, `lowerdir+=/…`, `datadir+=/…`. Podman takes
 * whatever begins like the first two (getOverlayUpperAndWorkDir). crun hands the kernel one text with commas between them, so that
 * one option can hold several.
 */
function* optionPaths(where: string, options: readonly string[] | null | undefined): Generator<HostPath> {
  for (const option of options ?? []) {
    for (const [, list = ''] of option.matchAll(DIRECTORY_OPTIONS)) {
      for (const path of list.split(':', MOST_PATHS + 1)) {
        if (path) yield { where: `${where}.options`, path, isMount: false, options: [] };
      }
    }
  }
}

const DIRECTORY_OPTIONS = /(?:^|,)(?:upperdir|workdir|lowerdir|datadir)[^=,]*=([^,]*)/gi;
