import { type Allocation, isAllocationId } from './allocation.ts';

/** What Nomad says of an allocation that it is asked for by its id. */
export type Answer =
  | { readonly kind: 'found'; readonly allocation: Allocation }
  /** Nomad says in so many words that there is none. */
  | { readonly kind: 'gone' }
  /** It did not answer, or refused: that proves nothing. */
  | { readonly kind: 'unanswered'; readonly why: string };

/** Whether something has been left behind by an allocation that is over, and why, in words. */
interface Judgement {
  readonly isGhost: boolean;
  readonly why: string;
}

/** The network namespace of an allocation, as it lies on the host. */
interface SeenNetwork {
  /** Whether it belongs to a user: then we made it. Nomad's own are root's. */
  readonly isUsers: boolean;
  /** A migration of it that was begun is not ended. */
  readonly isBeingMigrated: boolean;
}

/** Who a container is named for. */
export interface ContainerName {
  readonly task: string;
  readonly allocationId: string;
}

/** A uuid has 36 characters; before it stands a dash, and before that the task. */
const SHORTEST_NAME = 38;

/** Reads the name that the podman driver gives a container, `<task>-<allocation id>` (BuildContainerName); undefined for any other. */
export function containerNameOf(name: string): ContainerName | undefined {
  const allocationId = name.slice(-36);
  if (name.length < SHORTEST_NAME || name.at(-37) !== '-' || !isAllocationId(allocationId)) return undefined;
  return { task: name.slice(0, -37), allocationId };
}

/**
 * Whether a container is one that the driver made for a task of this node's Nomad: it mounts that task's directories, as
 * every container does that a gate lets through. A name alone proves nothing, and neither does the environment. Keeps off
 * what the user started by hand under such a name, and what another Nomad's client on this machine has in the same Podman.
 * Not what she made by hand to look the same: that she can only do to a container of her own.
 * @param sources the host paths that it mounts
 * @param allocDir as Nomad spells it
 */
export function isMadeForTask(
  sources: readonly string[],
  { task, allocationId }: ContainerName,
  allocDir: string,
): boolean {
  const directory = `${allocDir.replace(/\/+$/, '')}/${allocationId}`;
  return [`${directory}/alloc`, `${directory}/${task}/local`, `${directory}/${task}/secrets`].every((path) =>
    sources.includes(path),
  );
}

/**
 * Whether a container that the driver made has been left behind.
 * @param state Podman's word: created, running, paused, exited, removing, …
 * @param keepsExited whether the driver is told to leave containers that have ended: `gc { container = false }`
 */
export function judgeContainer(
  { state }: { readonly state: string },
  answer: Answer,
  hasDirectory: boolean,
  keepsExited: boolean,
): Judgement {
  if (keepsExited && ['exited', 'stopped'].includes(state)) {
    return left('the driver is told to keep what has ended: gc { container = false }');
  }
  return judgeAllocation(answer, hasDirectory);
}

/**
 * Whether the network namespace of an allocation has been left behind: Nomad's client has forgotten it. Whether a process is
 * in it does not count, as it does not for Nomad: the user could keep the address by one, and her Podman's service often has
 * a thread there, since Podman enters the networks of containers to read their statistics and cannot always go back.
 */
export function judgeNetwork(seen: SeenNetwork, answer: Answer, hasDirectory: boolean): Judgement {
  if (!seen.isUsers) return left('it is as Nomad made it');
  if (hasDirectory) return left('the directory of its allocation is there: Nomad may still take it down');
  if (seen.isBeingMigrated) return left('it is being migrated');
  return judgeAllocation(answer, hasDirectory);
}

/**
 * Whether an allocation is over for good. Its client may still take up what runs as long as anything says so: a status
 * that is not terminal (`unknown` is a client that is away), a task that is not dead, a directory that Nomad's servers know
 * nothing of any more.
 */
export function judgeAllocation(answer: Answer, hasDirectory: boolean): Judgement {
  if (answer.kind === 'unanswered') return left(`Nomad does not say what became of the allocation: ${answer.why}`);
  if (answer.kind === 'gone') {
    if (hasDirectory) return left('Nomad knows no such allocation, but its client has not removed its directory');
    return { isGhost: true, why: 'Nomad knows no such allocation' };
  }
  const { clientStatus, tasks } = answer.allocation;
  if (!['complete', 'failed', 'lost'].includes(clientStatus)) return left(`the allocation is ${clientStatus}`);
  const busy = tasks.find(({ state }) => state === 'pending' || state === 'running');
  if (busy) return left(`task ${busy.name} of the allocation is ${busy.state}`);
  // The servers say so of a node that they do not reach; its client may have started what it has not told of.
  if (clientStatus === 'lost' && hasDirectory && tasks.some(({ state }) => state === undefined)) {
    return left('the allocation is lost, and its client has not said what became of its tasks');
  }
  return { isGhost: true, why: `the allocation is ${clientStatus}` };
}

function left(why: string): Judgement {
  return { isGhost: false, why };
}
