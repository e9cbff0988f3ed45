import type { Access, Desired } from './desired.ts';
import type { Refusal } from './explanation.ts';
import { type DesiredVolume, isSourceOf } from './volume.ts';

/** Which task of which allocation is to be started, through whose gate. */
export interface AskedStart {
  readonly allocationId: string;
  readonly task: string;
  readonly uid: number;
}

/** A create of a container, as far as it decides whether the container may be. */
export interface AskedCreate extends AskedStart {
  /** What it mounts of the allocation's directory: paths from there on, empty for itself. */
  readonly mounts: readonly string[];
  /** A mount of what is Nomad's that Podman is to label for this container alone; undefined where there is none. */
  readonly privateLabel?: string | undefined;
  /** What it mounts of Nomad's data dir beside the allocation's directory. */
  readonly volumes: readonly MountedVolume[];
}

/** A mount of something in Nomad's data dir that is not in an allocation's directory. */
export interface MountedVolume {
  /** The field, such as `mounts.0.source`. */
  readonly where: string;
  /** As the driver spells it. */
  readonly path: string;
  readonly readOnly: boolean;
  /** The option by which Podman changes owners, `U` or `idmap`, of what it mounts, read-only or not. */
  readonly ownersBy?: string | undefined;
  /** The option by which it changes labels, `z` or `Z`, where SELinux is on. */
  readonly labelsBy?: string | undefined;
}

/** What decides over creates, beside what is decided over their allocations. */
export interface AdmissionRules {
  readonly metaKey: string;
  /** Where Nomad mounts CSI volumes, as it spells it. */
  readonly csiDir: string;
  readonly isSelinuxOn: boolean;
}

type Granted = Desired & { kind: 'access' };

/** Each is a mount of its own as long as the allocation is there. */
const MOST_NAMED = 100;

/** What has to be shown because a create names it: what it mounts of the directory of its own task. */
export function namedBy({ task, mounts }: AskedCreate): string[] {
  return mounts.filter((path) => path.startsWith(`${task}/`));
}

/** Why a create must not be, whatever its allocation is; undefined where nothing speaks against it. */
export function refusalOfRequest(create: AskedCreate, { isSelinuxOn }: AdmissionRules): Refusal | undefined {
  const { task, privateLabel } = create;
  if (isSelinuxOn && privateLabel !== undefined) {
    // Labelling is root's to do there, and tasks share what Nomad gives them.
    const reason = `task ${task}: ${privateLabel} is to be labelled for this container alone (Z), which a rootless Podman may not do with files of Nomad's; use z, in volumes or as selinuxlabel of the driver's configuration`;
    return { code: 'selinux_label', reason };
  }
  const { length } = namedBy(create);
  if (length <= MOST_NAMED) return undefined;
  const reason = `task ${task} mounts ${length} entries of its directory; mount at most ${MOST_NAMED}, or a directory that holds them`;
  return { code: 'too_many_mounts', reason };
}

/** As whom a task may be started: the user through whose gate that came. */
export function admitStart(
  { allocationId, task, uid }: AskedStart,
  desired: Desired,
  metaKey: string,
): { readonly desired: Granted; readonly owner: Access } | { readonly refusal: Refusal } {
  const refuse = (code: string, reason: string) => ({ refusal: { code, reason } });
  const remedy = `add meta { ${metaKey} = "alice" } to the job, group or task`;
  if (desired.kind === 'refused') return refuse(desired.code, `allocation ${allocationId}: ${desired.reason}`);
  if (desired.kind === 'nothing') {
    if (desired.why === 'unmanaged') {
      return refuse('no_podman_user', `allocation ${allocationId} has no ${metaKey} in its meta; ${remedy}`);
    }
    const what = desired.why === 'gone' ? 'is not on this node according to Nomad' : 'has finished';
    return refuse(`allocation_${desired.why}`, `allocation ${allocationId} ${what}; nothing is started for it`);
  }
  const owner = desired.podman.find((user) => user.tasks.includes(task));
  if (!owner) {
    return refuse('no_podman_user', `task ${task} of allocation ${allocationId} has no ${metaKey}; ${remedy}`);
  }
  if (owner.uid === uid) return { desired, owner };
  return refuse(
    'wrong_socket',
    `task ${task} of allocation ${allocationId} has ${metaKey} = "${owner.name}", but its socket is another user's; set socket = "${owner.name}" in the task's config, or change ${metaKey}`,
  );
}

/** As whom a container may be created, with what it mounts. */
export function admitCreate(
  create: AskedCreate,
  desired: Desired,
  rules: AdmissionRules,
): { readonly owner: Access } | { readonly refusal: Refusal } {
  const started = admitStart(create, desired, rules.metaKey);
  if ('refusal' in started) return started;
  const refusal =
    foreignTaskDir(create, started.desired) ??
    csiPlugin(create, rules) ??
    refusedVolume(create, started.desired, rules);
  return refusal ? { refusal } : { owner: started.owner };
}

function refusedVolume(create: AskedCreate, { volumes }: Granted, rules: AdmissionRules): Refusal | undefined {
  for (const mounted of create.volumes) {
    const refusal = refusalOfVolume(create, mounted, volumes, rules);
    if (refusal) return refusal;
  }
  return undefined;
}

/** Stops a job author who mounts something of a task that is another user's, or none. */
function foreignTaskDir({ allocationId, task, uid, mounts }: AskedCreate, { podman }: Granted): Refusal | undefined {
  const own = podman.find((user) => user.uid === uid)?.tasks ?? [];
  const foreign = mounts.find((path) => path !== '' && !['alloc', ...own].includes(path.split('/', 1)[0] ?? ''));
  if (foreign === undefined) return undefined;
  const reason = `task ${task} mounts ${JSON.stringify(foreign)} of allocation ${allocationId}, which is not in the directory of a task of the same user; mount what is in its own directory, or in alloc/`;
  return { code: 'foreign_task_dir', reason };
}

/**
 * Says why a task that is a CSI plugin cannot be a rootless one: Nomad mounts `<csi>/plugins/<allocation>` and `<csi>/<type>/<plugin>`
 * for it (client/allocrunner/taskrunner/plugin_supervisor_hook.go).
 */
function csiPlugin({ allocationId, task, volumes }: AskedCreate, { csiDir }: AdmissionRules): Refusal | undefined {
  const parts = volumes.map(({ path }) =>
    path.startsWith(`${csiDir}/`) ? path.slice(csiDir.length + 1).split('/') : [],
  );
  if (!parts.some(([kind, id, ...more]) => kind === 'plugins' && id === allocationId && more.length === 0))
    return undefined;
  const isController = parts.some(([kind, , ...more]) => kind === 'controller' && more.length === 0);
  // A controller needs no more than its socket: in a directory that the user could write to, and in which Nomad's root looks it up.
  const why = isController
    ? "Nomad's client opens the socket of its plugins by name, as root, in a directory that the user could then write to"
    : 'a node plugin mounts filesystems on the host, which takes root';
  const reason = `task ${task} is a CSI plugin, which cannot run as a user: ${why}; run it without podman_user, with a socket of root's own Podman or another driver`;
  return { code: 'csi_plugin', reason };
}

/**
 * Stops a job author who names something else in Nomad's data dir than what Nomad itself would mount for the task, or who
 * would write to what the group has claimed for reading only, or change its owners.
 */
function refusalOfVolume(
  { allocationId, task }: AskedCreate,
  { where, path, readOnly, ownersBy, labelsBy }: MountedVolume,
  volumes: readonly DesiredVolume[],
  { csiDir, isSelinuxOn }: AdmissionRules,
): Refusal | undefined {
  const shown = `${where} ${JSON.stringify(path)}`;
  const volume = volumes.find((one) => one.tasks.includes(task) && isSourceOf(path, allocationId, one, csiDir));
  if (!volume) {
    const reason = `${shown} lies in Nomad's data dir, but neither in the directory of allocation ${allocationId} nor is it a volume that task ${task} mounts by a volume_mount block`;
    return { code: 'data_dir_refused', reason };
  }
  if (!volume.claim.readOnly) return undefined;
  // A label that the volume_mount asks for is given by us.
  const changes = ownersBy ?? (isSelinuxOn && !volume.isShared ? labelsBy : undefined);
  if (changes !== undefined) {
    const reason = `${shown} is volume ${volume.claim.name}, which the group claims read_only; option ${changes} changes ${changes === ownersBy ? 'its owners' : 'its labels'} all the same: ${changes === ownersBy ? 'leave it out' : 'write selinux_label = "z" into the volume_mount'}, or claim it for writing`;
    return { code: 'volume_read_only', reason };
  }
  if (readOnly) return undefined;
  const reason = `${shown} is volume ${volume.claim.name}, which the group claims read_only; mount it read-only, or claim it for writing`;
  return { code: 'volume_read_only', reason };
}
