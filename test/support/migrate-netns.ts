/**
 * Runs in a process of its own: brings an allocation's network namespace to its user, as the agent does, and is
 * killed or stopped when the migration reaches a point. Arguments: the base directory of a test, the allocation, uid of alice,
 * the point (or `never`), the signal, and `without` to do without mounting beneath.
 */
import { systemClock } from '../../src/clock.ts';
import { newNetnsResource, wantedNetns } from './netns-resource.ts';

let isReached = false;
const [, , base = '', id = '', uid = '', point = '', signal = '', without = ''] = process.argv;
const { resource } = newNetnsResource(base, Number(uid), {
  ...(without === 'without' ? { beneath: false } : {}),
  clock: systemClock,
  reached: (_, reached) => {
    if (reached !== point || isReached) return;
    isReached = true;
    process.kill(process.pid, signal);
  },
});
for (const step of await resource.plan(wantedNetns(id, Number(uid)))) await step.apply();
process.exit(0);
