import { codeOf, messageOf, NotYetError, RefusedError } from '../errors.ts';
import type { Readiness, ReadyAnswer, ReadyRequest } from '../gate/readiness.ts';
import { type AdmissionRules, admitCreate, admitStart, namedBy, refusalOfRequest } from '../model/admission.ts';
import { isAllocationId } from '../model/allocation.ts';
import type { Refusal } from '../model/explanation.ts';
import { mayNameAllPaths, type PolicyEntry } from '../model/policy.ts';
import type { Reconciler } from '../reconcile/reconciler.ts';
import type { Outcome } from '../reconcile/record.ts';

type OfReconciler = Pick<
  Reconciler,
  'passNow' | 'nextOutcome' | 'enqueueStart' | 'desired' | 'whenIdle' | 'awaitNetns' | 'awaitMounts'
>;

/** What decides beside the reconciler. */
interface ReadinessOptions extends AdmissionRules {
  /** Which can change while the agent runs. */
  readonly policy: () => readonly PolicyEntry[] | undefined;
}

/** Answers the gate from the reconciler: every create waits for a pass of its own, so that it knows the state of now. */
export class ReconcilerReadiness implements Readiness {
  readonly #reconciler: OfReconciler;
  readonly #options: ReadinessOptions;

  constructor(reconciler: OfReconciler, options: ReadinessOptions) {
    this.#reconciler = reconciler;
    this.#options = options;
  }

  prepare(allocationId: string): void {
    if (isAllocationId(allocationId)) this.#reconciler.enqueueStart(allocationId);
  }

  async permitted(start: Parameters<Readiness['permitted']>[0], signal: AbortSignal): Promise<void> {
    const { allocationId } = start;
    let desired = await this.#reconciler.desired(allocationId, signal);
    // Nomad's servers know what its client starts: who does not is behind.
    while (desired.kind === 'nothing' && desired.why === 'gone') {
      await this.#reconciler.nextOutcome(allocationId, signal);
      desired = await this.#reconciler.desired(allocationId, signal);
    }
    const verdict = admitStart(start, desired, this.#options.metaKey);
    if ('refusal' in verdict) throw refused(verdict.refusal);
  }

  whenIdle(allocationId: string): Promise<void> {
    return this.#reconciler.whenIdle(allocationId);
  }

  async ready(request: ReadyRequest, signal: AbortSignal): Promise<ReadyAnswer> {
    const refusal = refusalOfRequest(request, this.#options);
    if (refusal) throw refused(refusal);
    this.#reconciler.awaitMounts(request.allocationId, request.task, namedBy(request));
    if (request.joinsNetns) this.#reconciler.awaitNetns(request.allocationId);
    let outcome: Outcome = await this.#reconciler.passNow(request.allocationId, signal);
    while (outcome.kind === 'failed') {
      const { error, retryable } = outcome;
      if (!retryable) throw new RefusedError(codeOf(error), messageOf(error), error);
      outcome = await this.#reconciler.nextOutcome(request.allocationId, signal).catch((aborted: unknown) => {
        throw new NotYetError(codeOf(error), messageOf(error), aborted);
      });
    }
    const verdict = admitCreate(request, outcome.desired, this.#options);
    if ('refusal' in verdict) throw refused(verdict.refusal);
    const { allocation } = outcome;
    return {
      mayNameAllPaths:
        allocation !== undefined && mayNameAllPaths(this.#options.policy(), allocation, verdict.owner.name),
    };
  }
}

function refused({ code, reason }: Refusal): RefusedError {
  return new RefusedError(code, reason);
}
