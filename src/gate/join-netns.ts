import { RefusedError } from '../errors.ts';
import type { PodmanUser } from '../podman/connect.ts';
import { type ContainersConf, readContainersConf } from './containers-conf.ts';
import type { CreateBody } from './create-body.ts';
import type { CreateTarget } from './create-target.ts';

/** Modes that leave a container in the user namespace of the user's Podman. */
const IN_PODMANS = ['', 'host', 'default'];

/**
 * Refuses a container that crun would not let into its allocation's network namespace: one in a user namespace of its own
 * (`userns = "auto"`, `"keep-id"`) for which Podman wants to set kernel parameters of the network. crun sets them from
 * within that user namespace, to which the network namespace does not belong, and fails with a message that helps nobody.
 * @throws RefusedError `netns_sysctls` with the remedy; as readContainersConf
 */
export async function refuseUnjoinable(body: CreateBody, { task }: CreateTarget, user: PodmanUser): Promise<void> {
  const asked = body.userns?.nsmode ?? '';
  if (asked === 'host') return;
  const conf = await readContainersConf(user);
  const mode = IN_PODMANS.includes(asked) ? conf.userns.split(':', 1)[0] : asked;
  if (mode === undefined || IN_PODMANS.includes(mode)) return;
  const own = Object.keys(body.sysctl ?? {}).find(isOfNetwork);
  if (own !== undefined) {
    const message = `task ${task}: sysctl ${own} cannot be set with userns = "${mode}" in the network of a group; leave one of the two out`;
    throw new RefusedError('netns_sysctls', message);
  }
  const fromConf = conf.defaultSysctls.find(isOfNetwork);
  if (fromConf !== undefined) throw new RefusedError('netns_sysctls', defaultSysctl(task, mode, fromConf, user));
}

function defaultSysctl(task: string, mode: string, sysctl: string, { name }: PodmanUser): string {
  const remedy = `write into ${name}'s ~/.config/containers/containers.conf, under [containers]: default_sysctls = []; and restart ${name}'s Podman service`;
  return `task ${task}: with userns = "${mode}" in the network of a group Podman cannot set ${sysctl.split('=', 1)[0]}, which is among the default_sysctls of its containers.conf; ${remedy}`;
}

function isOfNetwork(sysctl: ContainersConf['defaultSysctls'][number]): boolean {
  return sysctl.trim().startsWith('net.');
}
