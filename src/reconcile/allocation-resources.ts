import type { StepKind } from '../metrics.ts';
import type { Desired } from '../model/desired.ts';
import { ORDER, type Resource, type Step, type UserResource } from '../resources/resource.ts';
import type { AllocationRecord } from './record.ts';
import type { PassReports } from './report.ts';
import { attemptEach, settle } from './settle.ts';
import type { UserPasses } from './user-passes.ts';

type Granted = Desired & { kind: 'access' };

/** What is prepared for allocations, and who applies it. */
export interface AllocationResourcesOptions {
  /** What each allocation has for itself. */
  readonly resources: readonly Resource[];
  /** What the allocations of a user have together. */
  readonly userResources: readonly UserResource[];
  readonly users: Pick<UserPasses, 'settle' | 'clear' | 'clearAll'>;
  readonly reports: Pick<PassReports, 'apply' | 'late'>;
}

/** What an allocation has on this host: prepares it, and removes it, one kind after the other in the order of ORDER. */
export class AllocationResources {
  readonly #options: AllocationResourcesOptions;

  constructor(options: AllocationResourcesOptions) {
    this.#options = options;
  }

  /** Nothing is granted after what failed. @throws what failed */
  async prepare(record: AllocationRecord, desired: Granted): Promise<void> {
    for (const kind of ORDER) {
      try {
        await this.#prepareKind(kind, record, desired);
        record.found.add(kind);
      } catch (error) {
        record.found.delete(kind);
        throw error;
      }
    }
  }

  /** Each thing goes that can: what fails keeps nothing else there. @throws the first of what failed */
  async remove({ id, granted, found }: AllocationRecord, desired: Desired): Promise<void> {
    const { resources, users, reports } = this.#options;
    let isRemoved = false;
    const apply = async (step: Step) => {
      await reports.apply(step, { allocation: id });
      isRemoved = true;
    };
    const inOrder = ORDER.flatMap((kind) => resources.filter((one) => one.kind === kind));
    const remove = async (resource: Resource) => {
      await settle(
        () => resource.plan(desired),
        (steps) => attemptEach(steps, apply),
      );
      found.delete(resource.kind);
    };
    try {
      await attemptEach(inOrder, remove);
    } finally {
      for (const uid of new Set(granted?.values())) await users.clear(uid);
      if (isRemoved && !granted) users.clearAll();
    }
  }

  async #prepareKind(kind: StepKind, record: AllocationRecord, desired: Granted): Promise<void> {
    const { resources, userResources, users, reports } = this.#options;
    const { id } = record;
    for (const resource of resources.filter((one) => one.kind === kind)) {
      await settle(
        () => resource.plan(desired),
        async (steps) => {
          reports.late(record, resource, steps);
          for (const step of steps) await reports.apply(step, { allocation: id });
        },
      );
    }
    const shared = userResources.filter((one) => one.kind === kind);
    const uids = new Set(shared.flatMap((resource) => [...resource.neededBy(desired)]));
    await Promise.all([...uids].map((uid) => users.settle(uid, id)));
  }
}
