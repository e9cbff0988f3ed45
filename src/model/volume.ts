import type { Allocation, Task } from './allocation.ts';

/** A volume that the task group of an allocation claims. */
export interface VolumeClaim {
  /** The name that the group gives it. */
  readonly name: string;
  readonly type: string;
  /** Of a host volume the name on the node, of a CSI volume its id; with the index of the allocation where it is claimed for each. */
  readonly source: string;
  readonly readOnly: boolean;
}

/** What the tasks of one podman user have of a claimed volume. */
export interface DesiredVolume {
  readonly uid: number;
  readonly tasks: readonly string[];
  readonly claim: VolumeClaim;
  /** Of a host volume, where Nomad has it on this node; undefined where Nomad does not say. */
  readonly path: string | undefined;
  /** Whether one of the tasks asks for the SELinux label that containers share: selinux_label = "z". */
  readonly isShared?: boolean;
}

/** A volume that an allocation needs now. */
export interface LiveVolume {
  /** The allocation. */
  readonly id: string;
  readonly volume: DesiredVolume;
}

/**
 * Whether a path, as the driver spells it, is what a task that mounts a claimed volume has for the source of that mount.
 * @param csiDir below which CSI volumes are mounted: `<kind>/<plugin>/per-alloc/<allocation>/<volume>/<usage>`, where the
 *   usage begins with ro- or rw- (targetForVolume and ToFS in client/pluginmanager/csimanager)
 */
export function isSourceOf(
  path: string,
  id: string,
  { claim, path: hostPath }: DesiredVolume,
  csiDir: string,
): boolean {
  if (claim.type === 'host') return path === hostPath;
  if (claim.type !== 'csi' || !path.startsWith(`${csiDir}/`)) return false;
  const [kind, plugin, perAlloc, allocation, volume, usage, ...more] = path.slice(csiDir.length + 1).split('/');
  return (
    ['node', 'monolith'].includes(kind ?? '') &&
    !['', '.', '..', undefined].includes(plugin) &&
    perAlloc === 'per-alloc' &&
    allocation === id &&
    volume === claim.source &&
    (usage?.startsWith(claim.readOnly ? 'ro-' : 'rw-') ?? false) &&
    more.length === 0
  );
}

/**
 * The volumes that tasks of an allocation mount, for each user.
 * @param hostVolumes the host volumes of the node: name to path
 */
export function desiredVolumes(
  allocation: Allocation,
  users: readonly { readonly uid: number; readonly tasks: readonly string[] }[],
  hostVolumes: ReadonlyMap<string, string>,
): DesiredVolume[] {
  return users.flatMap(({ uid, tasks }) =>
    allocation.volumes.flatMap((claim): DesiredVolume[] => {
      const mounting = allocation.tasks.filter((task) => tasks.includes(task.name) && mounts(task, claim));
      if (mounting.length === 0) return [];
      const path = claim.type === 'host' ? hostVolumes.get(claim.source) : undefined;
      const isShared = mounting.some((task) => task.sharedVolumes.includes(claim.name));
      return [{ uid, tasks: mounting.map(({ name }) => name), claim, path, isShared }];
    }),
  );
}

/** Nomad's client interpolates the name of the volume with what it knows of the task: then it may be any of the group's. */
function mounts({ volumes }: Task, { name }: VolumeClaim): boolean {
  return volumes.some((mounted) => mounted === name || mounted.includes('${'));
}
