import type { JobSpec } from '../nomad/job.ts';
import { IMAGE } from '../sandbox.ts';
import { until } from '../until.ts';
import { type Placed, type Scene, shortId } from './scene.ts';

/** The name of the job's only task. */
const TASK = 'main';
const PORT = 80;

/** Serves a page that says who serves it, on a port that only root may bind, as the container's root is. */
const SCRIPT = [
  'read inside outside rest </proc/self/uid_map',
  'mkdir -p /tmp/www',
  'echo "served by uid $outside of the host, at $NOMAD_ALLOC_ADDR_http" >/tmp/www/index.html',
  `exec httpd -f -p "[::]:${PORT}" -h /tmp/www`,
].join('; ');

/** Runs a web server of a user in a group network of mode bridge, with a port of the host that leads to it. */
export async function placeWeb({ environment, follower, screen }: Scene, user: string): Promise<Placed> {
  const job: JobSpec = {
    id: `${user}s-web`,
    meta: { podman_user: user },
    networkMode: 'bridge',
    ports: [{ label: 'http', to: PORT }],
    tasks: [{ name: TASK, socket: user, image: IMAGE, command: '/bin/sh', args: ['-c', SCRIPT] }],
  };
  const placed = { user, jobId: job.id, allocation: await environment.nomad.runJob(job) };
  screen.happened('author', `runs ${job.id} (network mode "bridge"): allocation ${shortId(placed)}…`);
  follower.add(placed);
  await placed.allocation.waitFor('running');
  return placed;
}

/** Shows the page as the host gets it, and whose the network is; another user has to be kept out of it. */
export async function showPage({ environment, screen, checks }: Scene, web: Placed, stranger: string): Promise<void> {
  const { allocation, user } = web;
  screen.heading(`The page of ${web.jobId}, through the port of the host that leads to it`);
  const [address, port] = [await allocation.address(), await allocation.hostPort('http')];
  const { uid } = environment.sandbox.user(user);
  const rows: string[][] = [];
  for (const url of [`http://127.0.0.1:${port}/`, `http://${address}:${PORT}/`]) {
    const page = (await until(`${url} answers`, async () => (await fetch(url)).text())).trim();
    rows.push([url, page]);
    checks.check(`${url} is served by ${user}`, page.startsWith(`served by uid ${uid} of the host`), page);
  }
  screen.table(['ADDRESS', 'PAGE'], rows);

  const file = `/run/netns/${allocation.id}`;
  const join = ['podman', 'run', '--rm', `--network=ns:${file}`, IMAGE, 'true'];
  const answers = await Promise.all(
    [user, stranger].map(async (name) => [name, (await environment.sandbox.user(name).run(join)).code === 0] as const),
  );
  for (const [name, joined] of answers) {
    checks.check(
      `${name}'s Podman ${name === user ? 'joins' : 'does not join'} that network`,
      joined === (name === user),
    );
  }
  screen.table(
    ['', `joins the network of ${user}'s allocation`],
    answers.map(([name, joined]) => [`${name}'s Podman`, joined ? 'yes' : 'no (Operation not permitted)']),
  );
}
