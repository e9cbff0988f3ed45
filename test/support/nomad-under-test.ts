import type { JobSpec } from './nomad/job.ts';
import type { ExecResult } from './nomad/podman-api.ts';
import type { TaskEvent } from './nomad/recorded.ts';

/** One allocation of a job, however the Nomad that runs it is made. */
export interface AllocationUnderTest {
  readonly id: string;
  /** Its directory below the alloc dir. */
  readonly directory: string;
  /** Path of its group's network namespace, where it has one. */
  readonly netns: string;
  /** Its address in its group's network: IPv4, or IPv6 where it has no other. Waits until Nomad tells of it. */
  address(): Promise<string>;
  addressIpv6(): Promise<string>;
  /** The port of the host that leads to the group's port of that label. */
  hostPort(label: string): number | Promise<number>;
  /** @throws Error with the tasks' events when it ends otherwise or the time is up */
  waitFor(status: 'running' | 'complete' | 'failed'): Promise<void>;
  /** The lines that a task has written so far, to either stream. */
  logs(task: string): readonly string[] | Promise<readonly string[]>;
  waitForLog(task: string, text: string | RegExp): Promise<string>;
  /** What the job author sees in `nomad alloc status`, oldest first. */
  events(task: string): readonly TaskEvent[] | Promise<readonly TaskEvent[]>;
  /** As `nomad alloc exec`. */
  exec(task: string, argv: readonly string[], stdin?: string): Promise<ExecResult>;
  /** As `nomad alloc restart` of one task; waits until it runs again. */
  restart(task: string): Promise<void>;
  /** As `nomad alloc fs cat`: a path below the allocation's directory. @throws Error where Nomad does not give it */
  readFile(path: string): Promise<string>;
  /** Stops the job and waits until the allocation has ended. */
  stop(): Promise<void>;
  /** Stops it, and lets Nomad collect it: its directory goes. */
  gc(): Promise<void>;
}

/** What the mkdir plugin makes a volume's directory with; root's and 0700 unless told. */
export interface HostVolumeParameters {
  readonly uid?: number;
  readonly gid?: number;
  readonly mode?: string;
}

/** The stand-in and a real Nomad alike: what the e2e cases and the demo run against. */
export interface NomadUnderTest {
  /** Of its HTTP API. */
  readonly address: string;
  readonly dataDir: string;
  readonly allocDir: string;
  /** Where host-local keeps the leases of mode `bridge`, a file for each address. */
  readonly leaseDir: string;
  /** Places one allocation of a job on this node. */
  runJob(job: JobSpec): AllocationUnderTest | Promise<AllocationUnderTest>;
  /** Registers a changed job. @returns the allocation that it has then: the same, where Nomad can change it in place */
  updateJob(allocation: AllocationUnderTest, job: JobSpec): Promise<AllocationUnderTest>;
  /** Registers a job as a parameterized one, and dispatches it once. */
  dispatchJob(job: JobSpec): Promise<AllocationUnderTest>;
  /** Registers a job as a periodic one whose time does not come, and launches it once in spite of that. */
  forceJob(job: JobSpec): Promise<AllocationUnderTest>;
  /** Makes a dynamic host volume, as Nomad's mkdir plugin does. @returns the path of its directory */
  createHostVolume(name: string, parameters?: HostVolumeParameters): Promise<string>;
  /** Sets a variable of Nomad's; templates that show it are rendered anew. */
  putVariable(path: string, items: Readonly<Record<string, string>>): Promise<void>;
  /** Kills Nomad's client and starts it again, and waits until it has taken up what runs. */
  restartClient(): Promise<void>;
  /** Waits until the podman driver is healthy. */
  waitForDriver(): Promise<void>;
  /** What the podman driver says of its sockets over two rounds of asking them: each thing once, in order. */
  driverHealth(): Promise<readonly string[]>;
  stop(): Promise<void>;
}
