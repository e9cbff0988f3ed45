import { codeOf, messageOf, NotYetError, RefusedError } from '../errors.ts';
import type { Readiness, ReadyRequest } from '../gate/readiness.ts';
import { isAllocationId } from '../model/allocation.ts';
import type { Desired } from '../model/desired.ts';
import type { Reconciler } from '../reconcile/reconciler.ts';
import type { Outcome } from '../reconcile/record.ts';

/** Answers the gate from the reconciler: every create waits for a pass of its own, so that what it finds is so now. */
export class ReconcilerReadiness implements Readiness {
  readonly #reconciler: Pick<Reconciler, 'passNow' | 'nextOutcome' | 'notice' | 'awaitNetns'>;
  readonly #metaKey: string;

  constructor(reconciler: Pick<Reconciler, 'passNow' | 'nextOutcome' | 'notice' | 'awaitNetns'>, metaKey: string) {
    this.#reconciler = reconciler;
    this.#metaKey = metaKey;
  }

  prepare(allocationId: string): void {
    if (isAllocationId(allocationId)) this.#reconciler.notice(allocationId);
  }

  async ready(request: ReadyRequest, signal: AbortSignal): Promise<void> {
    if (request.joinsNetns) this.#reconciler.awaitNetns(request.allocationId);
    let outcome: Outcome = await this.#reconciler.passNow(request.allocationId, signal);
    while (outcome.kind === 'failed') {
      const { error, retryable } = outcome;
      if (!retryable) throw new RefusedError(codeOf(error), messageOf(error), error);
      outcome = await this.#reconciler.nextOutcome(request.allocationId, signal).catch((aborted: unknown) => {
        throw new NotYetError(codeOf(error), messageOf(error), aborted);
      });
    }
    judge(request, outcome.desired, this.#metaKey);
  }
}

/** @throws RefusedError unless that task is to run as the user through whose gate it came */
function judge({ allocationId, task, uid }: ReadyRequest, desired: Desired, metaKey: string): void {
  const remedy = `add meta { ${metaKey} = "alice" } to the job, group or task`;
  if (desired.kind === 'refused') throw new RefusedError(desired.code, `allocation ${allocationId}: ${desired.reason}`);
  if (desired.kind === 'nothing') {
    if (desired.why === 'unmanaged') {
      throw new RefusedError('no_podman_user', `allocation ${allocationId} has no ${metaKey} in its meta; ${remedy}`);
    }
    const what = desired.why === 'gone' ? 'is not on this node as far as Nomad knows' : 'has finished';
    throw new RefusedError(
      `allocation_${desired.why}`,
      `allocation ${allocationId} ${what}; nothing is started for it`,
    );
  }
  const owner = desired.podman.find((user) => user.tasks.includes(task));
  if (!owner) {
    throw new RefusedError('no_podman_user', `task ${task} of allocation ${allocationId} has no ${metaKey}; ${remedy}`);
  }
  if (owner.uid === uid) return;
  const message = `task ${task} of allocation ${allocationId} has ${metaKey} = "${owner.name}", but its socket is another user's; set socket = "${owner.name}" in the task's config, or change ${metaKey}`;
  throw new RefusedError('wrong_socket', message);
}
