import { dirname, join } from 'node:path';

/** Names the directory of a run of `npm run test:systemd`, to what it starts. */
export const RUN_VARIABLE = 'SYSTEMD_TEST_RUN';

/** That directory; it lies in the cache. */
export const RUN_DIRECTORY = process.env[RUN_VARIABLE];

/** What run-systemd.ts has made for machines. */
export interface RunParts {
  /** Directory with the files of Debian 13; stays as it is. */
  readonly system: string;
  /** Directory with bundles.ts's bundles. */
  readonly bundles: string;
  /** Directory, on a disk, for what machines write. */
  readonly directory: string;
}

/** @param directory of the run */
export function partsOf(directory: string): RunParts {
  return { system: join(dirname(directory), 'root'), bundles: join(directory, 'bundles'), directory };
}
