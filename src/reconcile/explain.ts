import { codeOf, messageOf, NotYetError, RefusedError } from '../errors.ts';
import type { Allocation, Task } from '../model/allocation.ts';
import { type Desired, desire, type Rules } from '../model/desired.ts';
import type { Explanation, PartExplanation, PartState, TaskExplanation } from '../model/explanation.ts';
import { metaValuesOf, PODMAN_DRIVER } from '../model/podman-user.ts';
import type { UserNeeds } from '../model/user-needs.ts';
import { verdictOn } from '../model/verdict.ts';
import { ORDER, type Resource, type Step, type UserResource } from '../resources/resource.ts';
import type { ReaderOptions } from './reader.ts';
import { type AllocationRecord, lastErrorOf, stateOf } from './record.ts';
import { type RuleSources, rulesFor } from './rules.ts';

/** What passes go by. */
interface PassParts {
  readonly resources: readonly Resource[];
  readonly userResources: readonly UserResource[];
  /** What is known that a user needs, with what it is now that this allocation desires. */
  readonly needsOf: (uid: number, desired: Desired) => UserNeeds;
  readonly isNetnsOwned: (id: string) => boolean;
}

/** Where what is explained comes from. */
interface ExplanationSources extends PassParts, RuleSources, Pick<ReaderOptions, 'readAllocation'> {}

/**
 * What an allocation gets, and why, by what a pass would go by. Changes nothing.
 * @returns undefined where Nomad says that there is none of this id
 * @throws NotYetError where nothing is known of it and Nomad does not answer, and `left_behind`
 */
export async function explainRecord(
  record: Readonly<AllocationRecord>,
  sources: ExplanationSources,
): Promise<Explanation | undefined> {
  const { id, outcome } = record;
  const allocation = record.allocation ?? (await sources.readAllocation(id));
  if (!allocation && outcome?.kind === 'failed') throw leftBehind(outcome.error, id);
  if (!allocation) return undefined;
  return await explain(record, allocation, await rulesFor(record, allocation, sources), sources);
}

/** Says what was decided over an allocation, why, and what is there of it: by the rules and the resources that passes go by. */
export async function explain(
  record: Readonly<AllocationRecord>,
  allocation: Allocation,
  rules: Rules,
  passParts: PassParts,
): Promise<Explanation> {
  const { id, outcome, readError } = record;
  const desired = desire(allocation, rules);
  return {
    id,
    namespace: allocation.namespace,
    jobId: allocation.jobId,
    parentJobId: allocation.parentJobId,
    taskGroup: allocation.taskGroup,
    metaKey: rules.metaKey,
    verdict: desired.kind === 'nothing' ? desired.why : desired.kind,
    refusal: desired.kind === 'refused' ? { code: desired.code, reason: desired.reason } : undefined,
    state: outcome && stateOf(record),
    since: outcome && record.since,
    lastError: lastErrorOf(record),
    readError: readError === undefined ? undefined : { code: codeOf(readError), message: messageOf(readError) },
    notApplied: desired.kind === 'access' ? desired.notApplied : [],
    tasks: allocation.tasks.map((task) => explainTask(task, allocation, rules, desired)),
    parts: await explainParts(desired, passParts),
  };
}

function explainTask(task: Task, allocation: Allocation, rules: Rules, desired: Desired): TaskExplanation {
  const { name, driver } = task;
  if (driver !== PODMAN_DRIVER) return { name, driver, otherUser: task.user || undefined, meta: [], volumes: [] };
  const { meta, user, policyEntry, refusal } = verdictOn(task, allocation, rules);
  const entry = policyEntry === undefined ? undefined : rules.policy?.[policyEntry];
  const allowing = entry && { place: (policyEntry ?? 0) + 1, namespace: entry.namespace, jobs: entry.jobs };
  const runsAs = desired.kind === 'access' ? desired.podman.find(({ tasks }) => tasks.includes(name)) : undefined;
  const volumes = desired.kind === 'access' ? desired.volumes.filter(({ tasks }) => tasks.includes(name)) : [];
  return {
    name,
    driver,
    meta: metaValuesOf(task, rules.metaKey),
    user: user && { name: user.name, uid: user.uid },
    runsAs: runsAs && { name: runsAs.name, uid: runsAs.uid },
    policy: meta && rules.policy ? { entry: allowing } : undefined,
    refusal,
    volumes: volumes.map(({ claim, path }) => ({ ...claim, path })),
  };
}

/** Plans and applies nothing. */
async function explainParts(desired: Desired, passParts: PassParts): Promise<PartExplanation[]> {
  const { resources, userResources, needsOf, isNetnsOwned } = passParts;
  const parts: PartExplanation[] = [];
  const explain = async (one: Resource | UserResource, plan: () => Planned, notes?: () => readonly string[]) => {
    const part = await explainPart(one.kind, plan, notes);
    if (part.state !== 'done' || isNeeded(one, desired)) parts.push(part);
  };
  for (const kind of ORDER) {
    for (const resource of resources.filter((one) => one.kind === kind)) {
      await explain(
        resource,
        () => resource.plan(desired),
        () => resource.notes?.(desired) ?? [],
      );
    }
    for (const resource of userResources.filter((one) => one.kind === kind)) {
      const uids = desired.kind === 'access' ? resource.neededBy(desired) : [];
      for (const uid of new Set(uids)) await explain(resource, () => resource.plan(desired.id, needsOf(uid, desired)));
    }
  }
  return merged(parts).map((part) => {
    if (part.kind !== 'netns' || part.state !== 'done' || isNetnsOwned(desired.id)) return part;
    return {
      ...part,
      state: 'waiting',
      what: ['it is migrated when Nomad has finished it and a container joins it'],
    };
  });
}

type Planned = readonly Step[] | Promise<readonly Step[]>;

async function explainPart(
  kind: PartExplanation['kind'],
  plan: () => Planned,
  notes: () => readonly string[] = () => [],
): Promise<PartExplanation> {
  try {
    const steps = await plan();
    const left = steps.length > 0 && steps.every(({ removes }) => removes);
    return {
      kind,
      state: steps.length === 0 ? 'done' : left ? 'left' : 'missing',
      what: [...steps.map(({ what }) => what), ...notes()],
    };
  } catch (error) {
    const state = error instanceof NotYetError ? 'waiting' : error instanceof RefusedError ? 'refused' : 'failed';
    return { kind, state, what: [messageOf(error)] };
  }
}

/** From what people should see first. */
const STATES: readonly PartState[] = ['failed', 'refused', 'waiting', 'missing', 'left', 'done'];

/** Several resources can be of one kind: their worst state counts. */
function merged(parts: readonly PartExplanation[]): PartExplanation[] {
  const kinds = [...new Set(parts.map(({ kind }) => kind))];
  return kinds.map((kind) => {
    const same = parts.filter((part) => part.kind === kind);
    const state = STATES.find((one) => same.some((part) => part.state === one)) ?? 'done';
    return { kind, state, what: same.flatMap(({ what }) => what) };
  });
}

function isNeeded({ kind }: Pick<Resource, 'kind'>, desired: Desired): boolean {
  if (desired.kind !== 'access') return false;
  if (kind === 'netns') return desired.netns !== undefined;
  return kind !== 'volume' || desired.volumes.length > 0;
}

function leftBehind(error: unknown, id: string): NotYetError {
  const message = `Nomad knows no allocation ${id} any more, and what is left of it cannot be removed: ${messageOf(error)}`;
  return new NotYetError('left_behind', message, error);
}
