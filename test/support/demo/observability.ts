import { z } from 'zod';
import type { Placed, Scene } from './scene.ts';

/** What we read of `nomad-rootless status --json`. */
const Status = z.looseObject({
  ready: z.boolean(),
  allocations: z.array(z.looseObject({ id: z.string(), state: z.string(), view: z.string(), acl: z.string() })),
});

/** The samples worth showing: those of ours that count something now. */
const SHOWN =
  /^nomad_rootless_(allocations|gate_requests_total|gate_hold_duration_seconds_(sum|count)|reconcile_total)\b.* (?!0$)\S+$/;

/** Shows `nomad-rootless status`, and checks that it calls what runs ready. */
export async function showStatus({ environment, screen, checks }: Scene, running: readonly Placed[]): Promise<void> {
  screen.heading('nomad-rootless status');
  const { code, stdout, stderr } = await environment.agent.command(['status']);
  screen.text(`${stdout}${stderr}`);
  checks.check('nomad-rootless status ends with 0', code === 0, `${code}`);
  const { ready, allocations } = Status.parse(
    JSON.parse((await environment.agent.command(['status', '--json'])).stdout),
  );
  checks.check('the agent is ready', ready);
  for (const { user, allocation } of running) {
    const { state, view, acl } = allocations.find(({ id }) => id === allocation.id) ?? {};
    const got = `${state}, view ${view}, acl ${acl}`;
    checks.check(
      `status says of ${user}'s allocation: ready, view mounted, acl set`,
      got === 'ready, view mounted, acl set',
      got,
    );
  }
}

/** Shows some of the metrics, and checks that the gates let pass and refused what they should, and nothing came late. */
export async function showMetrics({ environment, screen, checks }: Scene): Promise<void> {
  screen.heading('Metrics');
  const samples = (await environment.agent.metrics()).split('\n').filter((line) => SHOWN.test(line));
  const late = await environment.agent.metric('nomad_rootless_late_preparations_total');
  screen.text([...samples, `nomad_rootless_late_preparations_total ${late}`].join('\n'));
  const requests = (verdict: string) =>
    environment.agent.metric(`nomad_rootless_gate_requests_total{verdict="${verdict}"}`);
  const [created, refused] = [await requests('created'), await requests('refused')];
  checks.check('the gates let three creates pass', created === 3, `${created}`);
  checks.check('the gates refused one', refused === 1, `${refused}`);
  checks.check('no preparation was late', late === 0, `${late}`);
}
