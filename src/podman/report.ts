import * as z from 'zod';
import type { Clock } from '../clock.ts';
import type { PodmanReport } from '../model/checks/user.ts';
import { parseJson } from '../parse.ts';
import type { PodmanUser } from './connect.ts';
import { callPodman } from './podman-api.ts';

const TIMEOUT_MS = 5000;
const MOST_BYTES = 1024 * 1024;
/** Whatever she says ends up on an operator's terminal. */
const text = z.string().max(200).default('');

/** libpod/define/info.go of Podman. */
const Info = z.object({
  host: z.object({
    cgroupVersion: text,
    cgroupControllers: z.array(text).max(50).nullish(),
    security: z.object({ rootless: z.boolean() }),
  }),
  store: z.object({ graphDriverName: text }),
  version: z.object({ Version: text }),
});

/** Asks a user's Podman what it is, for five seconds. What she says need not be so. @throws as callPodman; ParseError */
export async function askPodman(user: PodmanUser, clock: Pick<Clock, 'after'>): Promise<PodmanReport> {
  const call = { method: 'GET', target: '/v1.0.0/libpod/info', timeoutMs: TIMEOUT_MS, maxBytes: MOST_BYTES } as const;
  const { body } = await callPodman(user, call, clock);
  const { host, store, version } = parseJson(Info, body.toString('utf8'), `info at the Podman of user ${user.name}`);
  return {
    version: version.Version,
    isRootless: host.security.rootless,
    cgroupVersion: host.cgroupVersion,
    cgroupControllers: host.cgroupControllers ?? [],
    storageDriver: store.graphDriverName,
  };
}
