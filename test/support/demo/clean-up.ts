import { messageOf } from '../../../src/errors.ts';
import { until } from '../until.ts';
import type { Placed, Scene } from './scene.ts';
import { findTraces, type Trace, type TraceKind } from './traces.ts';

/** What the agent has to take away as soon as a job has stopped, with the allocation's directory still there. */
const OURS: readonly TraceKind[] = ['tree', 'ACL', 'mark'];

/** Traces that a message names. */
const MOST_SHOWN = 4;

/** Stops the jobs, has Nomad collect them, stops the agent, and looks each time for what is left. */
export async function stopAndLook(scene: Scene, placed: readonly Placed[]): Promise<void> {
  const { environment, follower, screen, checks } = scene;
  const before = await findTraces(environment);
  for (const kind of [...OURS, 'mount', 'netns', 'socket', 'container'] satisfies TraceKind[]) {
    // What is not found while it is there would not be found if it were left behind.
    checks.check(
      `while the jobs run, looking finds a ${kind}`,
      before.some((trace) => trace.kind === kind),
    );
  }

  screen.heading('Stopping the jobs');
  await follower.during(async () => {
    await Promise.all(placed.map(({ allocation }) => allocation.stop()));
    screen.happened('author', 'has stopped the jobs');
    await expectGone(scene, 'after the jobs have stopped', OURS);
    await Promise.all(placed.map(({ allocation }) => allocation.gc()));
    screen.happened('nomad', 'has collected the allocations');
    await expectGone(scene, 'after Nomad has collected them', [...OURS, 'mount', 'netns', 'container']);
    const cleanups = (await environment.agent.metrics()).match(/^nomad_rootless_cleanup_total.*$/gm) ?? [];
    screen.happened('agent', `has taken away: ${cleanups.map(shortSample).join(', ')}`);
    const exitCode = await environment.agent.stop();
    checks.check('the agent stops with exit code 0', exitCode === 0, `${exitCode}`);
  });

  screen.heading('Left behind');
  const after = await findTraces(environment);
  checks.check('nothing is left behind', after.length === 0, describe(after));
  const kinds = [...new Set(before.map(({ kind }) => kind))];
  screen.table(
    ['KIND', 'WHILE THE JOBS RAN', 'LEFT'],
    kinds.map((kind) => [kind, `${count(before, kind)}`, `${count(after, kind)}`]),
  );
  screen.text(`left behind: ${after.length === 0 ? 'nothing' : describe(after)}`);
}

/** Waits until no trace of these kinds is there; what stays is a check that failed. */
async function expectGone({ environment, checks }: Scene, when: string, kinds: readonly TraceKind[]): Promise<void> {
  let left: Trace[] = [];
  const gone = async () => {
    left = (await findTraces(environment)).filter(({ kind }) => kinds.includes(kind));
    return left.length === 0;
  };
  const failure = await until(`no ${kinds.join(', ')} is left`, gone).then(() => '', messageOf);
  checks.check(`${when} no ${kinds.join(', ')} is left`, failure === '', describe(left) || failure);
}

function count(traces: readonly Trace[], wanted: TraceKind): number {
  return traces.filter(({ kind }) => kind === wanted).length;
}

function describe(traces: readonly Trace[]): string {
  const shown = traces.slice(0, MOST_SHOWN).map(({ kind, what }) => `${kind} ${what}`);
  const more = traces.length - shown.length;
  return [...shown, ...(more > 0 ? [`and ${more} more`] : [])].join('; ');
}

/** `view 2` of `nomad_rootless_cleanup_total{kind="view"} 2`. */
function shortSample(sample: string): string {
  return sample.replace(/^.*kind="(.*)"\}/, '$1');
}
