import type { Access, Desired } from '../../src/model/desired.ts';

/** What an allocation desires that gives these users access, with nothing special about it but `more`. */
export function accessOf(
  id: string,
  podman: readonly Access[],
  more: Partial<Desired & { kind: 'access' }> = {},
): Desired & { kind: 'access' } {
  const tasks = podman.flatMap((user) => user.tasks);
  return {
    kind: 'access',
    id,
    podman,
    others: [],
    tasks,
    named: tasks,
    started: [],
    usesConnect: false,
    netns: undefined,
    volumes: [],
    notApplied: [],
    ...more,
  };
}
