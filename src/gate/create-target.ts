import { RefusedError } from '../errors.ts';
import type { MountedVolume } from '../model/admission.ts';
import { isAllocationId } from '../model/allocation.ts';
import type { CreateBody } from './create-body.ts';
import { below, cleaned } from './guarded-paths.ts';
import { type HostPath, hostPaths } from './host-paths.ts';
import { refuseFields } from './refused-fields.ts';

/** Directories of this host. */
export interface HostDirectories {
  /** Nomad's, absolute, as the driver names them: with Nomad's own spelling, not canonicalised. */
  readonly dataDir: string;
  readonly allocDir: string;
  /** The alloc dir by its canonical name. */
  readonly canonicalAllocDir: string;
  /** Where else Nomad's client keeps its state and volumes, spelled so too; in the data dir or not. */
  readonly clientDirs: readonly string[];
  /** What no container is to get at, whole or in part: these and our own, as they are spelled and canonical. */
  readonly guarded: readonly string[];
}

/** Whom a create is for. */
export interface CreateTarget {
  readonly allocationId: string;
  readonly task: string;
  /** Whether it joins the allocation's netns: its group has a network of its own. */
  readonly joinsNetns: boolean;
  /** What it mounts of the allocation's directory: paths from there on, normal, empty for itself. */
  readonly mounts: readonly string[];
  /** A mount of what is Nomad's that Podman is to label for this container alone; undefined where there is none. */
  readonly privateLabel?: string | undefined;
  /** What it mounts of Nomad's data dir beside the allocation's directory: only volumes that its task has may be there. */
  readonly volumes: readonly MountedVolume[];
}

/** Podman takes whatever begins with idmap. */
const CHANGES_OWNERS = /^(?:U$|idmap)/;
const CHANGES_LABELS = /^[zZ]$/;

/** Where dockerd keeps the namespaces of its containers: SandboxKey in what it says of one, below its exec-root. */
const DOCKER_NETNS = /^(?:\/var)?\/run\/docker[^/]*\/netns\//;

/** The longest path that the kernel takes, with the NUL behind it (PATH_MAX, limits.h). */
const PATH_MAX = 4096;

/**
 * The allocation and task that a create is for, by what it reaches: its mount sources. `env` is the job author's, and
 * proves nothing. Stops a job author who names another allocation's directory or netns. Paths are compared as text.
 * @throws RefusedError with the reason and the remedy, for the job author
 */
export function targetOf(body: CreateBody, directories: HostDirectories): CreateTarget {
  refuseFields(body);
  let allocationId: string | undefined;
  const mounts: string[] = [];
  let privateLabel: string | undefined;
  const volumes: MountedVolume[] = [];
  for (const { where, path, isMount, options } of hostPaths(body)) {
    const owner = ownerOf(where, path, directories);
    if (owner === 'nobody') continue;
    if (options.includes('Z')) privateLabel ??= `${where} ${JSON.stringify(path)}`;
    if (owner === 'nomad') {
      if (!isMount) throw outsideOfAllocation(where, path, directories);
      volumes.push({
        where,
        path,
        readOnly: options.includes('ro') && !options.includes('rw'),
        ownersBy: options.find((option) => CHANGES_OWNERS.test(option)),
        labelsBy: options.find((option) => CHANGES_LABELS.test(option)),
      });
      continue;
    }
    if (allocationId === undefined && isMount) allocationId = owner;
    else if (owner !== allocationId) throw foreign(where, path, allocationId);
    mounts.push(below(`${cleaned(directories.allocDir)}/${owner}`, cleaned(path)) ?? '');
  }
  if (allocationId === undefined) {
    const where = `${cleaned(directories.allocDir)}/<allocation id>`;
    throw refused(
      'no_allocation',
      `no mount of the container lies below ${where}, so it is no task of this node's Nomad; start it through Nomad, or use the user's own podman.sock`,
    );
  }
  const suffix = `-${allocationId}`;
  const task = body.name.slice(0, -suffix.length);
  if (!body.name.endsWith(suffix) || task === '') {
    throw refused(
      'name_mismatch',
      `the container is named ${JSON.stringify(body.name)}, but its mounts are of allocation ${allocationId}; its name must be <task>${suffix}, as the podman driver writes it`,
    );
  }
  return { allocationId, task, joinsNetns: joinsNetns(body, allocationId), mounts, privateLabel, volumes };
}

/** The paths of a create that lie outside of what is Nomad's: the job author's choice, and Podman's rights. */
export function pathsElsewhere(body: CreateBody, directories: HostDirectories): HostPath[] {
  return hostPaths(body).filter(({ where, path }) => ownerOf(where, path, directories) === 'nobody');
}

/** The allocation whose directory holds the path; `nomad` where it is elsewhere in Nomad's directories, `nobody` where it is not Nomad's at all. */
function ownerOf(where: string, path: string, { dataDir, allocDir, clientDirs }: HostDirectories): string {
  const shown = `${where} ${JSON.stringify(path.slice(0, PATH_MAX))}`;
  // The kernel takes a backslash out of what overlay mounts are given: of which, depends on its version.
  const isEscaped = where.endsWith('.options') && path.includes('\\');
  if (path === '' || path.length >= PATH_MAX || path.split('/').includes('..') || path.includes('\0') || isEscaped) {
    throw refused('bad_path', `${shown} must be a path without ".."`);
  }
  const inAllocDir = below(cleaned(allocDir), cleaned(path));
  if (inAllocDir === undefined) {
    return [dataDir, ...clientDirs].some((dir) => below(cleaned(dir), cleaned(path)) !== undefined)
      ? 'nomad'
      : 'nobody';
  }
  const id = inAllocDir.split('/', 1)[0] ?? '';
  if (isAllocationId(id)) return id;
  throw refused(
    'alloc_dir_refused',
    `${shown} lies in Nomad's alloc dir ${allocDir} but names no allocation; a task can mount only what is in its own directory`,
  );
}

function outsideOfAllocation(where: string, path: string, { dataDir }: HostDirectories): RefusedError {
  return refused(
    'data_dir_refused',
    `${where} ${JSON.stringify(path)} lies in Nomad's data dir ${dataDir} but not in an allocation's directory; a task can use only what is in its own`,
  );
}

function foreign(where: string, path: string, allocationId: string | undefined): RefusedError {
  const whose = allocationId === undefined ? 'none of its mounts are' : `its mounts are of allocation ${allocationId}`;
  return refused(
    'foreign_path',
    `${where} ${JSON.stringify(path)} belongs to another allocation than the container: ${whose}; a task can use only its own allocation's directory`,
  );
}

function joinsNetns({ netns }: CreateBody, allocationId: string): boolean {
  if (netns?.nsmode !== 'path') return false;
  const allowed = [`/var/run/netns/${allocationId}`, `/run/netns/${allocationId}`];
  const path = netns.value ?? '';
  if (allowed.includes(path)) return true;
  const shown = `netns ${JSON.stringify(path)}`;
  if (DOCKER_NETNS.test(path)) {
    throw refused(
      'docker_netns',
      `${shown} is a network namespace of Docker's: where a task of the group has the docker driver, Docker makes the group's network and keeps it for root, so that no rootless container can join it; give the docker task a group of its own, or the group network mode "host"`,
    );
  }
  throw refused(
    'foreign_netns',
    `${shown} is not that of allocation ${allocationId} (${allowed[0]}); a task can join the network of its own group alone: use the group's network block instead of network_mode = "ns:…"`,
  );
}

function refused(code: string, message: string): RefusedError {
  return new RefusedError(code, message);
}
