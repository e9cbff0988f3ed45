import * as z from 'zod';
import type { Clock } from '../clock.ts';
import { RefusedError } from '../errors.ts';
import { isAllocationId } from '../model/allocation.ts';
import type { PodmanUser } from '../podman/connect.ts';
import { type CreateBody, NAMESPACES } from './create-body.ts';
import type { CreateTarget } from './create-target.ts';
import { inspect } from './inspect.ts';

/** Each is asked for at the user's Podman. */
const MOST_NAMED = 16;

const Inspected = z.object({ Name: z.string() });

/**
 * Refuses a create that joins a namespace of a container of another allocation, or depends on one: network_mode and
 * ipc_mode = "container:…". A container is known by its name, `<task>-<allocation id>`; of an id the user's own Podman says
 * the name. Stops the author of a job, not the user, whose Podman may say what it likes.
 * @throws RefusedError `foreign_container`; as inspect
 */
export async function refuseForeignContainers(
  body: CreateBody,
  { allocationId }: CreateTarget,
  user: PodmanUser,
  clock: Pick<Clock, 'after'>,
): Promise<void> {
  const named = namedContainers(body).filter(({ container }) => !isOf(container, allocationId));
  if (named.length > MOST_NAMED) {
    throw new RefusedError(
      'foreign_container',
      `the create names ${named.length} other containers; name at most ${MOST_NAMED}`,
    );
  }
  for (const { where, container } of named) {
    const name = await nameOf(container, user, clock);
    if (name !== undefined && isOf(name, allocationId)) continue;
    const is =
      name === undefined ? `of which the Podman of user ${user.name} has none` : `which is ${JSON.stringify(name)}`;
    const message = `${where} is container ${JSON.stringify(container.slice(0, 200))}, ${is}, and not one of allocation ${allocationId}; a task can join those of its own allocation alone: network_mode or ipc_mode = "task:<name>", or "container:<task>-\${NOMAD_ALLOC_ID}"`;
    throw new RefusedError('foreign_container', message);
  }
}

function namedContainers(body: CreateBody): { readonly where: string; readonly container: string }[] {
  const joined = NAMESPACES.flatMap((key) => {
    const { nsmode, value } = body[key] ?? {};
    return nsmode === 'container' ? [{ where: key, container: value ?? '' }] : [];
  });
  const needed = (body.dependencyContainers ?? []).map((container) => ({ where: 'dependencyContainers', container }));
  return [...joined, ...needed];
}

/** Podman takes what is no container's name for the beginning of an id, in which there are no dashes. */
function isOf(name: string, allocationId: string): boolean {
  return name.endsWith(`-${allocationId}`);
}

/** The name of a container that a create names by that or by its id; undefined where there is none. */
async function nameOf(container: string, user: PodmanUser, clock: Pick<Clock, 'after'>): Promise<string | undefined> {
  // Another task's: no id has dashes.
  if (container.at(-37) === '-' && isAllocationId(container.slice(-36))) return container;
  // As Podman names containers (NameRegex): of anything else it has none.
  if (!/^[A-Za-z0-9][\w.-]*$/.test(container)) return undefined;
  return (await inspect(Inspected, container, user, clock))?.Name;
}
