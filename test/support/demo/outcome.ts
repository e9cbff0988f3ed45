import { TASK } from './jobs.ts';
import { type Placed, type Scene, shortId } from './scene.ts';

/** Shows what each task has written, and checks that each ran as its user and the refused one not at all. */
export async function showTasks(scene: Scene, running: readonly Placed[], refused: Placed): Promise<void> {
  const { environment, screen, checks } = scene;
  screen.heading('What the tasks wrote');
  const rows: string[][] = [];
  for (const placed of running) {
    const output = (await placed.allocation.logs(TASK)).join(' / ');
    const { uid } = environment.sandbox.user(placed.user);
    const expected = `hello ${placed.user}, uid 0 in here is uid ${uid} on the host`;
    checks.check(`${placed.user}'s task writes "${expected}"`, output === expected, output);
    rows.push([shortId(placed), placed.user, output]);
  }
  // It has no logs to ask for: where a task was never started a real Nomad answers with an error.
  const types = (await refused.allocation.events(TASK)).map(({ Type }) => Type);
  checks.check(`${refused.user}'s task is never started`, !types.includes('Started'), types.join(', '));
  rows.push([shortId(refused), refused.user, screen.paint('yellow', '(refused, never started)')]);
  screen.table(['ALLOCATION', 'USER', 'TASK OUTPUT'], rows);

  for (const user of environment.sandbox.users) {
    if (user.name === refused.user) continue;
    const names = (await user.podman(['ps', '--all', '--format', '{{.Names}}'])).trim().split('\n');
    const expected = running
      .filter((placed) => placed.user === user.name)
      .map((placed) => `${TASK}-${placed.allocation.id}`);
    checks.check(
      `${user.name}'s Podman has nothing but the container of ${user.name}'s task`,
      names.join() === expected.join(),
      names.join(),
    );
  }
}

/** Shows the refusal where its job author looks for it. */
export async function showRefusal({ screen, checks }: Scene, refused: Placed): Promise<void> {
  screen.heading(`What ${refused.user}'s job author sees in nomad alloc status ${shortId(refused)}`);
  const events = await refused.allocation.events(TASK);
  const rows = events.map(({ Type, DisplayMessage }) => [Type, DisplayMessage]);
  screen.table(['TYPE', 'DESCRIPTION'], rows);
  const failure = events.find(({ Type }) => Type === 'Driver Failure')?.DisplayMessage ?? 'no Driver Failure';
  const { user } = refused;
  const says = ['nomad-rootless: allocation', refused.allocation.id, `user ${user} has no gate on this node`];
  checks.check(
    `the Driver Failure says that ${user} has no gate on this node`,
    says.every((text) => failure.includes(text)),
    failure,
  );
}
