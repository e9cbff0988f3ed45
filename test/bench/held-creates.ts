import type { SandboxUser } from '../support/sandbox-user.ts';
import { startSlowLooks } from '../support/slow-looks.ts';
import type { StandInNomad } from '../support/stand-in-nomad.ts';
import { createUnacceptable } from './creates.ts';
import { PreparedAllocation } from './prepared-allocation.ts';
import { TimedApi } from './timed-api.ts';

const ALLOCATIONS = 80;

/**
 * A user doing her worst: a create of each of her many allocations is held at her gate, and each look at her Podman comes to no
 * end. Until it is disposed of.
 */
export async function holdCreates({
  nomad,
  user,
  gate,
}: {
  readonly nomad: StandInNomad;
  readonly user: SandboxUser;
  readonly gate: string;
}): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const all = Array.from({ length: ALLOCATIONS }, () => new PreparedAllocation(nomad, user.name));
  stack.defer(() => user.startService());
  stack.use(await startSlowLooks(user));
  for (const allocation of all) {
    await allocation.build();
    stack.defer(() => allocation.destroy());
  }
  const api = new TimedApi(gate, false);
  const creates = all.map((allocation) => {
    allocation.announce();
    return createUnacceptable(api, allocation).catch((error: unknown) => error); // given up, and that is what it is for
  });
  stack.defer(async () => {
    for (const allocation of all) allocation.end();
    await Promise.all(creates);
    api[Symbol.dispose]();
  });
  return stack.move();
}
