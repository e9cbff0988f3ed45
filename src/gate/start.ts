import * as z from 'zod';
import type { Clock } from '../clock.ts';
import { ParseError, RefusedError } from '../errors.ts';
import { isAllocationId } from '../model/allocation.ts';
import { parseJson } from '../parse.ts';
import type { PodmanUser } from '../podman/connect.ts';
import { callPodman } from '../podman/podman-api.ts';
import { type CreateTarget, type NomadDirectories, targetOf } from './create-body.ts';

const LOOK_MS = 10_000;
const MAX_INSPECT_BYTES = 1024 * 1024;

/** libpod/define/container_inspect.go of Podman, InspectContainerData. */
const Inspected = z.object({
  Name: z.string(),
  Mounts: z.array(z.object({ Type: z.string(), Source: z.string(), RW: z.boolean() })).nullish(),
  HostConfig: z.object({ NetworkMode: z.string().nullish() }),
});

/**
 * Whose task a container is that was created before: the driver starts one anew after a reboot (its recover_stopped), and
 * what it mounts has to be there by then, as at its create.
 * @returns undefined where it is no container of a task, or not there: Podman says so then
 * @throws as callPodman and targetOf; ParseError where Podman describes it in another form
 */
export async function targetOfContainer(
  container: string,
  user: PodmanUser,
  directories: NomadDirectories,
  clock: Pick<Clock, 'after'>,
): Promise<CreateTarget | undefined> {
  const target = `/v1.0.0/libpod/containers/${encodeURIComponent(container)}/json`;
  const call = { method: 'GET', target, timeoutMs: LOOK_MS, maxBytes: MAX_INSPECT_BYTES } as const;
  const { status, body } = await callPodman(user, call, clock);
  if (status === 404) return undefined;
  const where = `GET ${target} at the Podman of user ${user.name}`;
  if (status !== 200) throw new ParseError(where, 'status 200 or 404', `status ${status}`);
  const { Name: name, Mounts: mounts, HostConfig } = parseJson(Inspected, body.toString('utf8'), where);
  if (name.at(-37) !== '-' || !isAllocationId(name.slice(-36))) return undefined;
  const [, netns] = /^ns:(.*)$/s.exec(HostConfig.NetworkMode ?? '') ?? [];
  try {
    return targetOf(
      {
        name,
        mounts: (mounts ?? [])
          .filter(({ Type }) => Type === 'bind')
          .map(({ Source, RW }) => ({ type: 'bind', source: Source, options: [RW ? 'rw' : 'ro'] })),
        netns: netns === undefined ? undefined : { nsmode: 'path', value: netns },
      },
      directories,
    );
  } catch (error) {
    // Named like a task's, and of none: the user made it herself.
    if (error instanceof RefusedError && error.code === 'no_allocation') return undefined;
    throw error;
  }
}
