import type { GateResults } from './gate-report.ts';
import type { MigrationResults } from './migrations.ts';
import type { Comparison } from './samples.ts';
import type { ScaleResults } from './scale-report.ts';
import type { StartResults } from './start.ts';

/** What a run of the bench for the ways to a Podman alone measured; times in milliseconds. */
export interface WaysResults {
  readonly machine: { readonly podman: string; readonly node: string; readonly kernel: string; readonly cpus: number };
  /** The ways to a Podman, by an agent of its own. */
  readonly ways: GateResults;
}

/** What one run of the whole bench measured; times in milliseconds, memory in MiB. */
export interface BenchResults extends WaysResults {
  readonly allocations: number;
  /** A whole create by real Podman. */
  readonly create: Comparison;
  /** A create that Podman does nothing for. */
  readonly ready: Comparison;
  readonly cold: Comparison;
  readonly stats: Comparison;
  readonly ping: Comparison;
  /** Of the agent, resident: with all allocations prepared, after all measurements, and the most it ever was. */
  readonly memory: { readonly prepared: number; readonly end: number; readonly peak: number };
  /** Starting the agent, and what it takes while it has nothing to do. */
  readonly start: StartResults;
  /** By an agent of its own. */
  readonly scale: ScaleResults;
  /** Handing over the netns of an allocation. */
  readonly migrations: MigrationResults;
}
