import { type Clock, within } from '../clock.ts';
import { messageOf, NotYetError } from '../errors.ts';
import { readTextIfThere } from '../linux/read-file.ts';
import { listenerOf } from '../linux/unix-peer.ts';
import type { PodmanUser } from '../podman/connect.ts';
import { PodmanNamespaces } from '../resources/podman-namespaces.ts';
import type { Bundle } from './bundle.ts';

/** A user can have as many mounts as fs.mount-max allows. */
const MOST_BYTES = 16 * 1024 * 1024;
/** For looking for one user's Podman. */
const USER_MS = 10_000;

/** The mounts that a process sees: proc_pid_mountinfo(5). @throws RefusedError, NotYetError `process_gone` */
function mountinfoOf(pid: number): string {
  const text = readTextIfThere(`/proc/${pid}/mountinfo`, MOST_BYTES);
  if (text === undefined) throw new NotYetError('process_gone', `process ${pid} has ended`);
  return text;
}

/** Adds the mounts of the host, of the agent, and of the namespaces in which each user's Podman works. */
export async function addMountinfo(
  bundle: Bundle,
  {
    adminSocket,
    users,
    clock,
  }: { adminSocket: string; users: readonly PodmanUser[]; clock: Pick<Clock, 'after' | 'monotonic'> },
): Promise<void> {
  const asIs = (text: string) => text;
  await bundle.add('mountinfo/host.txt', () => mountinfoOf(1), asIs);
  const ofAgent = async () => {
    const listener = await listenerOf(adminSocket);
    if (!listener) throw new NotYetError('agent_not_running', `nobody listens on ${adminSocket}`);
    return mountinfoOf(listener.pid);
  };
  await bundle.add('mountinfo/agent.txt', ofAgent, asIs);
  const namespaces = new PodmanNamespaces(clock);
  try {
    for (const user of users) {
      const name = `mountinfo/${user.name}`;
      const look = namespaces.of(user).catch((error: unknown) => messageOf(error));
      const found = (await within(clock, USER_MS, look)) ?? `not found within ${USER_MS / 1000} s`;
      if (typeof found === 'string') bundle.miss(`${name}.txt`, found);
      else for (const { pid } of found) await bundle.add(`${name}-${pid}.txt`, () => mountinfoOf(pid), asIs);
    }
  } finally {
    namespaces.close();
  }
}
