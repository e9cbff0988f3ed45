import type { Bench } from './bench.ts';
import { BENCH_JOB, BENCH_TASK } from './prepared-allocation.ts';
import { type Comparison, compare } from './samples.ts';

const ROUNDS = 1000;

/** Calls that the gate has no business with: stats of a running container, and the cheapest call that Podman has. */
export async function measurePassThrough({
  nomad,
  direct,
  gate,
}: Bench): Promise<{ stats: Comparison; ping: Comparison }> {
  const allocation = nomad.runJob(BENCH_JOB);
  await allocation.waitFor('running');
  const path = `/v1.0.0/libpod/containers/${BENCH_TASK}-${allocation.id}/stats?stream=false`;
  const stats = await compare(
    ROUNDS,
    () => direct.time('GET', path, [200]),
    () => gate.time('GET', path, [200]),
  );
  await allocation.gc();
  const ping = await compare(
    ROUNDS,
    () => direct.time('GET', '/libpod/_ping', [200]),
    () => gate.time('GET', '/libpod/_ping', [200]),
  );
  return { stats, ping };
}
