import { codeOf, messageOf, NotYetError, RefusedError } from '../errors.ts';
import type { Readiness, ReadyAnswer, ReadyRequest } from '../gate/readiness.ts';
import { isAllocationId } from '../model/allocation.ts';
import type { Access, Desired } from '../model/desired.ts';
import { mayNameAllPaths, type PolicyEntry } from '../model/policy.ts';
import { type DesiredVolume, isSourceOf } from '../model/volume.ts';
import type { Reconciler } from '../reconcile/reconciler.ts';
import type { Outcome } from '../reconcile/record.ts';

type OfReconciler = Pick<
  Reconciler,
  'passNow' | 'nextOutcome' | 'noticeStart' | 'desired' | 'whenIdle' | 'awaitNetns' | 'awaitMounts'
>;

/** What decides beside the reconciler. */
export interface ReadinessOptions {
  readonly metaKey: string;
  /** Where Nomad mounts CSI volumes, as it spells it. */
  readonly csiDir: string;
  /** Which can change while the agent runs. */
  readonly policy: () => readonly PolicyEntry[] | undefined;
  readonly isSelinuxOn: boolean;
}

/** Answers the gate from the reconciler: every create waits for a pass of its own, so that what it finds is so now. */
export class ReconcilerReadiness implements Readiness {
  readonly #reconciler: OfReconciler;
  readonly #options: ReadinessOptions;

  constructor(reconciler: OfReconciler, options: ReadinessOptions) {
    this.#reconciler = reconciler;
    this.#options = options;
  }

  prepare(allocationId: string): void {
    if (isAllocationId(allocationId)) this.#reconciler.noticeStart(allocationId);
  }

  async permitted(start: Parameters<Readiness['permitted']>[0], signal: AbortSignal): Promise<void> {
    const { allocationId } = start;
    let desired = await this.#reconciler.desired(allocationId, signal);
    // Nomad's servers know what its client starts: who does not is behind.
    while (desired.kind === 'nothing' && desired.why === 'gone') {
      await this.#reconciler.nextOutcome(allocationId, signal);
      desired = await this.#reconciler.desired(allocationId, signal);
    }
    judge(start, desired, this.#options.metaKey);
  }

  whenIdle(allocationId: string): Promise<void> {
    return this.#reconciler.whenIdle(allocationId);
  }

  async ready(request: ReadyRequest, signal: AbortSignal): Promise<ReadyAnswer> {
    const { metaKey, csiDir, policy, isSelinuxOn } = this.#options;
    if (isSelinuxOn && request.privateLabel !== undefined) throw privateLabel(request, request.privateLabel);
    this.#reconciler.awaitMounts(request.allocationId, request.task, namedIn(request));
    if (request.joinsNetns) this.#reconciler.awaitNetns(request.allocationId);
    let outcome: Outcome = await this.#reconciler.passNow(request.allocationId, signal);
    while (outcome.kind === 'failed') {
      const { error, retryable } = outcome;
      if (!retryable) throw new RefusedError(codeOf(error), messageOf(error), error);
      outcome = await this.#reconciler.nextOutcome(request.allocationId, signal).catch((aborted: unknown) => {
        throw new NotYetError(codeOf(error), messageOf(error), aborted);
      });
    }
    const { desired, owner } = judge(request, outcome.desired, metaKey);
    judgeMounts(request, desired);
    refuseCsiPlugin(request, csiDir);
    for (const mounted of request.volumes) judgeVolume(request, mounted, desired.volumes, { csiDir, isSelinuxOn });
    const { allocation } = outcome;
    return { mayNameAllPaths: allocation !== undefined && mayNameAllPaths(policy(), allocation, owner.name) };
  }
}

/** Each is a mount of its own as long as the allocation is there. */
const MOST_NAMED = 100;

type Granted = Desired & { kind: 'access' };

/** Whom the task runs as. @throws RefusedError unless that is the user through whose gate it came */
function judge(
  { allocationId, task, uid }: Pick<ReadyRequest, 'allocationId' | 'task' | 'uid'>,
  desired: Desired,
  metaKey: string,
): { readonly desired: Granted; readonly owner: Access } {
  const remedy = `add meta { ${metaKey} = "alice" } to the job, group or task`;
  if (desired.kind === 'refused') throw new RefusedError(desired.code, `allocation ${allocationId}: ${desired.reason}`);
  if (desired.kind === 'nothing') {
    if (desired.why === 'unmanaged') {
      throw new RefusedError('no_podman_user', `allocation ${allocationId} has no ${metaKey} in its meta; ${remedy}`);
    }
    const what = desired.why === 'gone' ? 'is not on this node according to Nomad' : 'has finished';
    throw new RefusedError(
      `allocation_${desired.why}`,
      `allocation ${allocationId} ${what}; nothing is started for it`,
    );
  }
  const owner = desired.podman.find((user) => user.tasks.includes(task));
  if (!owner) {
    throw new RefusedError('no_podman_user', `task ${task} of allocation ${allocationId} has no ${metaKey}; ${remedy}`);
  }
  if (owner.uid === uid) return { desired, owner };
  const message = `task ${task} of allocation ${allocationId} has ${metaKey} = "${owner.name}", but its socket is another user's; set socket = "${owner.name}" in the task's config, or change ${metaKey}`;
  throw new RefusedError('wrong_socket', message);
}

/** Labelling is root's to do there, and tasks share what Nomad gives them. */
function privateLabel({ task }: ReadyRequest, mount: string): RefusedError {
  const message = `task ${task}: ${mount} is to be labelled for this container alone (Z), which a rootless Podman may not do with files of Nomad's; use z, in volumes or as selinuxlabel of the driver's configuration`;
  return new RefusedError('selinux_label', message);
}

/** What has to be shown because a create names it: what it mounts of the directory of its own task. */
function namedIn({ task, mounts }: ReadyRequest): string[] {
  const named = mounts.filter((path) => path.startsWith(`${task}/`));
  if (named.length <= MOST_NAMED) return named;
  const message = `task ${task} mounts ${named.length} entries of its directory; mount at most ${MOST_NAMED}, or a directory that holds them`;
  throw new RefusedError('too_many_mounts', message);
}

/** Stops a job author who mounts something of a task that is another user's, or none. @throws RefusedError */
function judgeMounts({ allocationId, task, uid, mounts }: ReadyRequest, { podman }: Granted): void {
  const own = podman.find((user) => user.uid === uid)?.tasks ?? [];
  const foreign = mounts.find((path) => path !== '' && !['alloc', ...own].includes(path.split('/', 1)[0] ?? ''));
  if (foreign === undefined) return;
  const message = `task ${task} mounts ${JSON.stringify(foreign)} of allocation ${allocationId}, which is not in the directory of a task of the same user; mount what is in its own directory, or in alloc/`;
  throw new RefusedError('foreign_task_dir', message);
}

/**
 * Says why a task that is a CSI plugin cannot be a rootless one: Nomad mounts `<csi>/plugins/<allocation>` and `<csi>/<type>/<plugin>`
 * for it (client/allocrunner/taskrunner/plugin_supervisor_hook.go).
 * @throws RefusedError `csi_plugin`
 */
function refuseCsiPlugin({ allocationId, task, volumes }: ReadyRequest, csiDir: string): void {
  const parts = volumes.map(({ path }) =>
    path.startsWith(`${csiDir}/`) ? path.slice(csiDir.length + 1).split('/') : [],
  );
  if (!parts.some(([kind, id, ...more]) => kind === 'plugins' && id === allocationId && more.length === 0)) return;
  const isController = parts.some(([kind, , ...more]) => kind === 'controller' && more.length === 0);
  // A controller needs no more than its socket: in a directory that the user could write to, and in which Nomad's root looks it up.
  const why = isController
    ? "Nomad's client opens the socket of its plugins by name, as root, in a directory that the user could then write to"
    : 'a node plugin mounts filesystems on the host, which takes root';
  const message = `task ${task} is a CSI plugin, which cannot run as a user: ${why}; run it without podman_user, with a socket of root's own Podman or another driver`;
  throw new RefusedError('csi_plugin', message);
}

/**
 * Stops a job author who names something else in Nomad's data dir than what Nomad itself would mount for the task, or who
 * would write to what the group has claimed for reading only, or change its owners.
 * @throws RefusedError
 */
function judgeVolume(
  { allocationId, task }: ReadyRequest,
  { where, path, readOnly, ownersBy, labelsBy }: ReadyRequest['volumes'][number],
  volumes: readonly DesiredVolume[],
  { csiDir, isSelinuxOn }: Pick<ReadinessOptions, 'csiDir' | 'isSelinuxOn'>,
): void {
  const shown = `${where} ${JSON.stringify(path)}`;
  const volume = volumes.find((one) => one.tasks.includes(task) && isSourceOf(path, allocationId, one, csiDir));
  if (!volume) {
    const message = `${shown} lies in Nomad's data dir, but neither in the directory of allocation ${allocationId} nor is it a volume that task ${task} mounts by a volume_mount block`;
    throw new RefusedError('data_dir_refused', message);
  }
  if (!volume.claim.readOnly) return;
  // A label that the volume_mount asks for is given by us.
  const changes = ownersBy ?? (isSelinuxOn && !volume.isShared ? labelsBy : undefined);
  if (changes !== undefined) {
    const message = `${shown} is volume ${volume.claim.name}, which the group claims read_only; option ${changes} changes ${changes === ownersBy ? 'its owners' : 'its labels'} all the same: ${changes === ownersBy ? 'leave it out' : 'write selinux_label = "z" into the volume_mount'}, or claim it for writing`;
    throw new RefusedError('volume_read_only', message);
  }
  if (readOnly) return;
  const message = `${shown} is volume ${volume.claim.name}, which the group claims read_only; mount it read-only, or claim it for writing`;
  throw new RefusedError('volume_read_only', message);
}
