import type * as z from 'zod';
import type { Clock } from '../clock.ts';
import { ParseError } from '../errors.ts';
import { parseJson } from '../parse.ts';
import type { PodmanUser } from '../podman/connect.ts';
import { callPodman } from '../podman/podman-api.ts';
import { MAX_DOCUMENT_BYTES } from './document.ts';

const LOOK_MS = 10_000;

/**
 * What a user's Podman says of a container.
 * @param schema of what is wanted of InspectContainerData, libpod/define/container_inspect.go of Podman
 * @param container its name, its id or how that begins
 * @returns undefined where there is none
 * @throws as callPodman; ParseError where Podman describes it in another form
 */
export async function inspect<T>(
  schema: z.ZodType<T>,
  container: string,
  user: PodmanUser,
  clock: Pick<Clock, 'after'>,
): Promise<T | undefined> {
  const target = `/v1.0.0/libpod/containers/${encodeURIComponent(container)}/json`;
  const call = { method: 'GET', target, timeoutMs: LOOK_MS, maxBytes: MAX_DOCUMENT_BYTES } as const;
  const { status, body } = await callPodman(user, call, clock);
  if (status === 404) return undefined;
  const where = `GET ${target} at the Podman of user ${user.name}`;
  if (status !== 200) throw new ParseError(where, 'status 200 or 404', `status ${status}`);
  return parseJson(schema, body.toString('utf8'), where);
}
