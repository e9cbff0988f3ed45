import { jobOf, shell } from '../../e2e/cases.ts';
import type { JobSpec } from '../nomad/job.ts';
import type { AllocationHandle, StandInNomad } from '../stand-in-nomad.ts';

/** The host volume that some of them write to. */
export const VOLUME = 'soaked';
const STAYS = 'echo x >/alloc/data/x; echo up; exec sleep 1000';

/** One kind of allocation, and what becomes of it where nothing is killed. */
export interface Life {
  readonly job: (id: string) => JobSpec;
  readonly becomes: 'running' | 'complete' | 'failed';
  /** What happens to it while it runs. */
  readonly meanwhile?: (allocation: AllocationHandle, nomad: StandInNomad) => Promise<unknown>;
}

/** Allocations of all kinds. */
export const LIVES: Readonly<Record<string, Life>> = {
  plain: { job: (id) => jobOf('alice', id, shell('t', 'alice', STAYS)), becomes: 'running' },
  batch: { job: (id) => jobOf('bob', id, shell('t', 'bob', 'echo x >/local/x')), becomes: 'complete' },
  'an error': { job: (id) => jobOf('bob', id, shell('t', 'bob', 'exit 3')), becomes: 'failed' },
  'refused by the gate': { job: (id) => jobOf(undefined, id, shell('t', 'alice', STAYS)), becomes: 'failed' },
  'a network': {
    job: (id) => ({ ...jobOf('alice', id, shell('t', 'alice', STAYS)), networkMode: 'bridge' }),
    becomes: 'running',
    meanwhile: (allocation) => allocation.exec('t', ['ip', 'address']),
  },
  'a network with a port': {
    job: (id) => ({
      ...jobOf('bob', id, shell('t', 'bob', STAYS)),
      networkMode: 'bridge',
      ports: [{ label: 'http', to: 8080 }],
    }),
    becomes: 'running',
  },
  'a sidecar': {
    job: (id) =>
      jobOf(
        'alice',
        id,
        shell('t', 'alice', STAYS),
        shell('side', 'alice', STAYS, { lifecycle: { hook: 'poststart', sidecar: true } }),
      ),
    becomes: 'running',
  },
  'two users': {
    job: (id) => {
      const task = (user: string) => shell(`of-${user}`, user, STAYS, { meta: { podman_user: user } });
      return jobOf(undefined, id, task('alice'), task('bob'));
    },
    becomes: 'running',
  },
  'a volume': {
    job: (id) => {
      const volumeMounts = [{ volume: 'files', destination: '/files' }];
      const task = shell('t', 'alice', `echo x >>/files/x; ${STAYS}`, { volumeMounts });
      return { ...jobOf('alice', id, task), volumes: [{ name: 'files', type: 'host', source: VOLUME }] };
    },
    becomes: 'running',
  },
  'keep-id': {
    job: (id) => jobOf('bob', id, shell('t', 'bob', STAYS, { userns: 'keep-id' })),
    becomes: 'running',
  },
  'a secret, and a restart': {
    job: (id) => jobOf('bob', id, shell('t', 'bob', `cat /secrets/s; ${STAYS}`, { secrets: { s: 'secret' } })),
    becomes: 'running',
    meanwhile: (allocation) => allocation.restart('t'),
  },
};
