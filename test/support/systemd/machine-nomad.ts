import type { JobSpec } from '../nomad/job.ts';
import type { AllocationUnderTest } from '../nomad-under-test.ts';

/** The unit that runs Nomad's client in a machine, be it the real one or the stand-in. */
export const NOMAD_UNIT = 'nomad.service';

/** The client's data_dir in a machine. */
export const DATA_DIR = '/opt/nomad/data';

/** One allocation of a job in a machine. */
export type MachineAllocation = Pick<AllocationUnderTest, 'id' | 'waitFor' | 'events' | 'gc'>;

/** What the cases ask of the Nomad in a machine: a real one, or the stand-in. */
export interface MachineNomad {
  /** Puts it into the machine and enables it, but does not start it. @param sockets socket block of the driver to its path */
  install(sockets: Readonly<Record<string, string>>): Promise<void>;
  /** Waits until the client has come up after its unit has. */
  waitUntilUp(): Promise<void>;
  /** Places one allocation of a job. */
  runJob(job: JobSpec): Promise<MachineAllocation>;
  /** What was wrong with the sockets when its podman driver looked at them for the first time since the boot. */
  problemsAtStart(): Promise<readonly string[]>;
  /** Waits until its podman driver has looked at its sockets so many times more. @returns what it has found wrong then */
  watchDriver(rounds: number): Promise<readonly string[]>;
}
