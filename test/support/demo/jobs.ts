import type { JobSpec } from '../nomad/job.ts';
import { IMAGE } from '../sandbox.ts';
import type { Placed, Scene } from './scene.ts';

/** The name of each job's only task. */
export const TASK = 'main';

/** What a task writes for its user alone, below the allocation's directory. */
export const LETTER = 'alloc/data/letter';

/** Tells its secret and who it is inside and outside (user_namespaces(7): uid_map), and writes a file. */
const SCRIPT = [
  'read inside outside rest </proc/self/uid_map',
  `echo "for $NOMAD_META_podman_user only" >/${LETTER}`,
  'echo "$(cat /secrets/greeting), uid $(id -u) in here is uid $outside on the host"',
  "trap 'exit 0' TERM",
  'sleep 1000 & wait',
].join('; ');

/** Runs a job for each user and one for the stranger, until the first are running and the last has failed. */
export async function placeAll(
  scene: Scene,
  users: readonly string[],
  stranger: string,
): Promise<{ running: Placed[]; refused: Placed }> {
  const running = await Promise.all(users.map((user) => place(scene, user, user)));
  // There is no gate for the stranger, so that the job has to name another's.
  const refused = await place(scene, stranger, users[0] ?? '');
  for (const { user, allocation } of running) {
    await allocation.waitFor('running');
    await allocation.waitForLog(TASK, new RegExp(`^hello ${user}`));
  }
  await refused.allocation.waitFor('failed');
  return { running, refused };
}

async function place({ environment, follower, screen }: Scene, user: string, socket: string): Promise<Placed> {
  const job: JobSpec = {
    id: `${user}s-job`,
    meta: { podman_user: user },
    tasks: [
      {
        name: TASK,
        socket,
        image: IMAGE,
        command: '/bin/sh',
        args: ['-c', SCRIPT],
        secrets: { greeting: `hello ${user}` },
      },
    ],
  };
  const placed = { user, jobId: job.id, allocation: await environment.nomad.runJob(job) };
  const about = `podman_user = "${user}", socket = "${socket}"`;
  screen.happened('author', `runs ${job.id} (${about}): allocation ${placed.allocation.id.slice(0, 8)}…`);
  follower.add(placed);
  return placed;
}
