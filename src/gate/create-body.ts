import { posix } from 'node:path';
import { RefusedError } from '../errors.ts';
import { isAllocationId } from '../model/allocation.ts';
import { type CreateBody, hostPaths } from './spec-generator.ts';

/** Nomad's directories as the driver names them, absolute: with Nomad's own spelling, not canonicalised. */
export interface NomadDirectories {
  readonly dataDir: string;
  readonly allocDir: string;
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

/** A mount of something in Nomad's data dir that is not in an allocation's directory. */
export interface MountedVolume {
  /** The field, such as `mounts.0.source`. */
  readonly where: string;
  /** As the driver spells it. */
  readonly path: string;
  readonly readOnly: boolean;
}

/**
 * The allocation and task that a create is for, by what it reaches: its mount sources. `env` is the job author's, and
 * proves nothing. Stops a job author who names another allocation's directory or netns. Paths are compared as text:
 * a symlink that leads elsewhere is stopped by the user's own rights, not here.
 * @throws RefusedError with the reason and the remedy, for the job author
 */
export function targetOf(body: CreateBody, directories: NomadDirectories): CreateTarget {
  if (body.volumes_from?.length) {
    throw refused(
      'volumes_from_refused',
      'volumes_from takes the mounts of another container; name the mounts themselves',
    );
  }
  let allocationId: string | undefined;
  const mounts: string[] = [];
  let privateLabel: string | undefined;
  const volumes: MountedVolume[] = [];
  for (const { where, path, isMount, readOnly, isPrivate } of hostPaths(body)) {
    const owner = ownerOf(where, path, directories);
    if (owner === 'nobody') continue;
    if (isPrivate) privateLabel ??= `${where} ${JSON.stringify(path)}`;
    if (owner === 'nomad') {
      if (!isMount) throw outsideOfAllocation(where, path, directories);
      volumes.push({ where, path, readOnly });
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

/** The allocation whose directory holds the path; `nomad` where it is elsewhere in the data dir, `nobody` where it is not Nomad's at all. */
function ownerOf(where: string, path: string, { dataDir, allocDir }: NomadDirectories): string {
  const shown = `${where} ${JSON.stringify(path)}`;
  if (!path.startsWith('/') || path.split('/').includes('..') || path.includes('\0')) {
    throw refused('bad_path', `${shown} must be an absolute path without ".."`);
  }
  const inAllocDir = below(cleaned(allocDir), cleaned(path));
  if (inAllocDir === undefined) {
    return below(cleaned(dataDir), cleaned(path)) === undefined ? 'nobody' : 'nomad';
  }
  const id = inAllocDir.split('/', 1)[0] ?? '';
  if (isAllocationId(id)) return id;
  throw refused(
    'alloc_dir_refused',
    `${shown} lies in Nomad's alloc dir ${allocDir} but names no allocation; a task can mount only what is in its own directory`,
  );
}

function outsideOfAllocation(where: string, path: string, { dataDir }: NomadDirectories): RefusedError {
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
  if (allowed.includes(netns.value ?? '')) return true;
  throw refused(
    'foreign_netns',
    `netns ${JSON.stringify(netns.value)} is not that of allocation ${allocationId} (${allowed[0]}); use the group's network block instead of network_mode = "ns:…"`,
  );
}

/** What follows `dir/`, or an empty string for `dir` itself; undefined where the path lies elsewhere. */
function below(dir: string, path: string): string | undefined {
  if (path === dir) return '';
  return path.startsWith(`${dir}/`) ? path.slice(dir.length + 1) : undefined;
}

function cleaned(path: string): string {
  const normal = posix.normalize(path);
  return normal.endsWith('/') ? normal.slice(0, -1) : normal;
}

function refused(code: string, message: string): RefusedError {
  return new RefusedError(code, message);
}
