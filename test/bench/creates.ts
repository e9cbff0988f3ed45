import { until } from '../support/until.ts';
import type { Bench } from './bench.ts';
import type { PreparedAllocation } from './prepared-allocation.ts';
import { type Comparison, compare } from './samples.ts';
import type { TimedApi } from './timed-api.ts';

const CREATE = '/v1.0.0/libpod/containers/create';
const CREATED = [201];
/** What Podman answers to a body that it cannot decode. */
const UNACCEPTABLE = [500];
const READY_ROUNDS = 500;
const CREATE_ROUNDS = 60;

/**
 * Creates for allocations that the agent hears of by the create alone, one each: the event stream is silent meanwhile.
 * The gate asks Nomad, has the ACL set and the view mounted, and holds the create until then.
 * @throws Error where one was not cold
 */
export async function measureColdCreates(
  { nomad, metric, direct, gate }: Bench,
  allocations: readonly PreparedAllocation[],
): Promise<Comparison> {
  const standing = (value: number) => async () => (await metric('nomad_rootless_event_stream_connected')) === value;
  nomad.api.setFault('event-stream', 'hang');
  nomad.api.cutConnections();
  await until('the event stream is down', standing(0));
  const result = await compare(
    allocations.length,
    (round) => createUnacceptable(direct, at(allocations, round)),
    (round) => {
      at(allocations, round).announce();
      return createUnacceptable(gate, at(allocations, round));
    },
  );
  nomad.api.setFault('event-stream');
  nomad.api.cutConnections();
  await until('the event stream stands again', standing(1));
  // The tree is mounted over the data dir once.
  for (const [kind, more] of Object.entries({ acl: 0, view: 1 })) {
    const expected = allocations.length + more;
    const steps = await metric(`nomad_rootless_step_duration_seconds_count{kind="${kind}"}`);
    if (steps !== expected) {
      throw new Error(`expected ${expected} steps of kind ${kind} in cold creates, got ${steps}`);
    }
  }
  return result;
}

/** Creates for allocations that are ready. The gate asks Nomad and looks whether all is still there. */
export function measureReadyCreates(
  { direct, gate }: Bench,
  allocations: readonly PreparedAllocation[],
): Promise<Comparison> {
  return compare(
    READY_ROUNDS,
    (round) => createUnacceptable(direct, at(allocations, round)),
    (round) => createUnacceptable(gate, at(allocations, round)),
  );
}

/** Whole creates by Podman, for allocations that are ready. */
export function measureCreates(
  { direct, gate }: Bench,
  allocations: readonly PreparedAllocation[],
): Promise<Comparison> {
  const created = async (api: TimedApi, round: number) => {
    const allocation = at(allocations, round);
    const milliseconds = await api.time('POST', CREATE, CREATED, allocation.createBody());
    await api.time('DELETE', `/v1.0.0/libpod/containers/${allocation.container}?force=true&volumes=true`, [200, 204]);
    return milliseconds;
  };
  return compare(
    CREATE_ROUNDS,
    (round) => created(direct, round),
    (round) => created(gate, round),
  );
}

/** A create that Podman does nothing for, through one of the two. */
export function createUnacceptable(api: TimedApi, allocation: PreparedAllocation): Promise<number> {
  return api.time('POST', CREATE, UNACCEPTABLE, allocation.unacceptableBody());
}

function at(allocations: readonly PreparedAllocation[], round: number): PreparedAllocation {
  const allocation = allocations[round % allocations.length];
  if (!allocation) throw new Error('no allocations');
  return allocation;
}
