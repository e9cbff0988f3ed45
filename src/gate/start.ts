import * as z from 'zod';
import type { Clock } from '../clock.ts';
import { RefusedError } from '../errors.ts';
import { isAllocationId } from '../model/allocation.ts';
import type { PodmanUser } from '../podman/connect.ts';
import type { CreateBody } from './create-body.ts';
import { type CreateTarget, type HostDirectories, targetOf } from './create-target.ts';
import { inspect } from './inspect.ts';

/** libpod/define/container_inspect.go of Podman, InspectContainerData. */
const Inspected = z.object({
  Name: z.string(),
  Mounts: z.array(z.object({ Type: z.string(), Source: z.string(), RW: z.boolean() })).nullish(),
  HostConfig: z.object({ NetworkMode: z.string().nullish() }),
});

/** A container of a task, as its create named it. */
interface CreatedContainer {
  readonly target: CreateTarget;
  readonly spec: CreateBody;
}

/**
 * Whose task a container is that was created before: the driver starts one anew after a reboot (its recover_stopped), and
 * what it mounts has to be there by then, as at its create.
 * @returns undefined where it is no container of a task, or not there: Podman says so then
 * @throws as inspect and targetOf
 */
export async function createdContainer(
  container: string,
  user: PodmanUser,
  directories: HostDirectories,
  clock: Pick<Clock, 'after'>,
): Promise<CreatedContainer | undefined> {
  const inspected = await inspect(Inspected, container, user, clock);
  if (!inspected) return undefined;
  const { Name: name, Mounts: mounts, HostConfig } = inspected;
  if (name.at(-37) !== '-' || !isAllocationId(name.slice(-36))) return undefined;
  const [, netns] = /^ns:(.*)$/s.exec(HostConfig.NetworkMode ?? '') ?? [];
  const spec: CreateBody = {
    name,
    mounts: (mounts ?? [])
      .filter(({ Type }) => Type === 'bind')
      .map(({ Source, RW }) => ({ type: 'bind', source: Source, options: [RW ? 'rw' : 'ro'] })),
    netns: netns === undefined ? undefined : { nsmode: 'path', value: netns },
  };
  try {
    return { target: targetOf(spec, directories), spec };
  } catch (error) {
    // Named like a task's, and of none: the user made it herself.
    if (error instanceof RefusedError && error.code === 'no_allocation') return undefined;
    throw error;
  }
}
