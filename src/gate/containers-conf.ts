import { join } from 'node:path';
import { parse } from 'smol-toml';
import * as z from 'zod';
import { letOthersRun } from '../clock.ts';
import { messageOf, RefusedError } from '../errors.ts';
import { environmentOf, readConfAsUser } from '../linux/read-as-user.ts';
import { listenerOf } from '../linux/unix-peer.ts';
import type { PodmanUser } from '../podman/connect.ts';

/** What a user's Podman takes from containers.conf(5), as far as it decides what a container may join. */
export interface ContainersConf {
  /** `[containers] userns`; empty where none says. */
  readonly userns: string;
  readonly defaultSysctls: readonly string[];
}

const entry = z.union([z.string(), z.object({ append: z.boolean() })]);
const conf = z.object({
  containers: z.object({ userns: z.string().optional(), default_sysctls: z.array(entry).optional() }).optional(),
});

/** Of one file, without its comments: what containers.conf(5) has is not a quarter of that. Reading a MiB takes more than a second. */
const MOST_LENGTH = 32 * 1024;

const SYSTEM = ['/usr/share/containers/containers.conf', '/etc/containers/containers.conf'] as const;
const VARIABLES = ['CONTAINERS_CONF', 'CONTAINERS_CONF_OVERRIDE', 'XDG_CONFIG_HOME'] as const;
const SYSTEM_DROP_INS = '/etc/containers/containers.conf.d';

/**
 * Reads what counts for a user's Podman, in the order of containers.conf(5): the distribution's, the host's, the user's,
 * each with its drop-ins; what comes later wins. The environment of the process that serves her socket may name others.
 * @throws NotYetError `user_files_unreadable`; RefusedError `containers_conf` where a file is no such configuration
 */
export async function readContainersConf(user: PodmanUser): Promise<ContainersConf> {
  const listener = await listenerOf(user.socket);
  const environment =
    listener?.uid === user.uid ? await environmentOf(user, listener.pid, VARIABLES) : new Map<string, string>();
  const paths = pathsFor(user, environment);
  const texts = await readConfAsUser(user, paths);
  const merged = { userns: '', defaultSysctls: [] as string[] };
  for (const path of paths) {
    const found = [...texts.keys()].filter((file) => file === path || file.startsWith(`${path}/`)).sort();
    for (const file of found) {
      merge(merged, file, texts.get(file) ?? '');
      await letOthersRun();
    }
  }
  return merged;
}

function pathsFor({ home }: PodmanUser, environment: ReadonlyMap<string, string>): string[] {
  const only = environment.get('CONTAINERS_CONF');
  const override = environment.get('CONTAINERS_CONF_OVERRIDE');
  const own = join(environment.get('XDG_CONFIG_HOME') || join(home, '.config'), 'containers');
  const ordinary = [...SYSTEM, SYSTEM_DROP_INS, join(own, 'containers.conf'), join(own, 'containers.conf.d')];
  return [...(only ? [only] : ordinary), ...(override ? [override] : [])];
}

function merge(into: { userns: string; defaultSysctls: string[] }, file: string, text: string): void {
  const { containers } = parseConf(file, text);
  into.userns = containers?.userns ?? into.userns;
  const listed = containers?.default_sysctls;
  if (!listed) return;
  const sysctls = listed.filter((one) => typeof one === 'string');
  const appends = listed.some((one) => typeof one !== 'string' && one.append);
  into.defaultSysctls = appends ? [...into.defaultSysctls, ...sysctls] : sysctls;
}

function parseConf(file: string, text: string): z.infer<typeof conf> {
  if (text.length > MOST_LENGTH) {
    const message = `${file} has more than ${MOST_LENGTH} characters beside comments; make it shorter`;
    throw new RefusedError('containers_conf', message);
  }
  try {
    return conf.parse(parse(text));
  } catch (error) {
    throw new RefusedError(
      'containers_conf',
      `${file} is not a valid containers.conf(5): ${messageOf(error).slice(0, 200)}`,
    );
  }
}
