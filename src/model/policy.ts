import type { Allocation } from './allocation.ts';

/** One line of the policy: jobs of these namespaces, with these ids, may run as these users. In both patterns `*` stands for any text. */
export interface PolicyEntry {
  readonly namespace: string;
  readonly jobs: string;
  readonly users: ReadonlySet<string>;
  /** Whether these jobs may name any path of the host. */
  readonly hostPaths?: 'all' | undefined;
}

/**
 * The first entry that lets the job of an allocation run as a user: its place, from 0. A job that Nomad made of another one
 * (dispatched, periodic) also has the rights of that one; only Nomad says which that is, never the job's author.
 */
export function entryAllowing(
  policy: readonly PolicyEntry[],
  { namespace, jobId, parentJobId }: Pick<Allocation, 'namespace' | 'jobId' | 'parentJobId'>,
  user: string,
): number | undefined {
  const jobIds = parentJobId === undefined ? [jobId] : [jobId, parentJobId];
  const at = policy.findIndex(
    (entry) =>
      entry.users.has(user) && matches(entry.namespace, namespace) && jobIds.some((id) => matches(entry.jobs, id)),
  );
  return at === -1 ? undefined : at;
}

/** Whether an entry lets the job of an allocation, running as a user, name any path of the host. */
export function mayNameAllPaths(
  policy: readonly PolicyEntry[] | undefined,
  allocation: Pick<Allocation, 'namespace' | 'jobId' | 'parentJobId'>,
  user: string,
): boolean {
  const granting = (policy ?? []).filter(({ hostPaths }) => hostPaths === 'all');
  return entryAllowing(granting, allocation, user) !== undefined;
}

/**
 * Whether a text is what a pattern stands for, whole. Walks from star to star without turning back: a pattern or a text
 * of any kind costs no more than its length.
 */
export function matches(pattern: string, text: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  const last = rest.pop();
  if (last === undefined) return pattern === text;
  if (!text.startsWith(first)) return false;
  let at = first.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found === -1) return false;
    at = found + part.length;
  }
  return text.length - last.length >= at && text.endsWith(last);
}
