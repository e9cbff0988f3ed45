/**
 * Runs in a process of its own: brings an allocation's network namespace to its user, as the agent does, and kills itself
 * by SIGKILL when the migration reaches a point. Arguments: the base directory of a test, the allocation, uid of alice, the
 * point (or `never`), and `without` to do without mounting beneath.
 */
import { newNetnsResource, wantedNetns } from './netns-resource.ts';

const [, , base = '', id = '', uid = '', point = '', without = ''] = process.argv;
const { resource } = newNetnsResource(base, Number(uid), {
  ...(without === 'without' ? { beneath: false } : {}),
  reached: (_, reached) => {
    if (reached === point) process.kill(process.pid, 'SIGKILL');
  },
});
for (const step of await resource.plan(wantedNetns(id, Number(uid)))) await step.apply();
process.exit(0);
