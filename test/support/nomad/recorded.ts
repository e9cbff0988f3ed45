import { readFileSync } from 'node:fs';
import type { AllocatedPort } from './ports.ts';

/** A task state as Nomad reports it; recorded in allocation-web.json. Times of events are nanoseconds since the epoch. */
export interface TaskState {
  State: 'pending' | 'running' | 'dead';
  Failed: boolean;
  StartedAt: string | null;
  FinishedAt: string | null;
  Restarts: number;
  LastRestart: string | null;
  Paused: string;
  Events: TaskEvent[];
}

/** One task event. Only the fields that differ between types are named here; the record has them all. */
export interface TaskEvent {
  Type: string;
  Time: number;
  DisplayMessage: string;
  Message: string;
  DriverError: string;
  Details: Record<string, string>;
  [field: string]: unknown;
}

/** A task in a job's group. */
export interface RecordedTask {
  Name: string;
  Driver: string;
  User: string;
  Config: Record<string, unknown>;
  Env: Record<string, string> | null;
  Meta: Record<string, string> | null;
  Lifecycle: { Hook: string; Sidecar: boolean } | null;
  [field: string]: unknown;
}

/** A port in a network block. */
export interface RecordedPort {
  Label: string;
  HostNetwork: string;
  /** The port inside; left out where it is the host's own. */
  To?: number;
  /** The port of the host; left out as long as none is given. */
  Value?: number;
}

/** A network block of a group or of an allocation. */
export interface RecordedNetwork {
  Mode: string;
  /** The host's address, in an allocation. */
  IP?: string;
  DynamicPorts?: RecordedPort[];
  ReservedPorts?: RecordedPort[];
}

/** What the client tells of a group's network; all of it empty where no CNI plugin has given it an address. */
export interface NetworkStatus {
  InterfaceName: string;
  Address: string;
  AddressIPv6: string;
  DNS: null;
}

/** A group of a job. */
export interface RecordedGroup {
  Name: string;
  Meta: Record<string, string> | null;
  Networks: RecordedNetwork[] | null;
  Tasks: RecordedTask[];
  [field: string]: unknown;
}

/** A job as an allocation carries it. */
export interface RecordedJob {
  ID: string;
  Name: string;
  Namespace: string;
  Meta: Record<string, string> | null;
  TaskGroups: RecordedGroup[];
  [field: string]: unknown;
}

/** An allocation as `GET /v1/allocation/<id>` gives it. */
export interface RecordedAllocation {
  ID: string;
  Name: string;
  Namespace: string;
  JobID: string;
  DeploymentID: string;
  NodeID: string;
  TaskGroup: string;
  DesiredStatus: string;
  ClientStatus: string;
  ClientDescription: string;
  CreateIndex: number;
  ModifyIndex: number;
  AllocModifyIndex: number;
  CreateTime: number;
  ModifyTime: number;
  Job: RecordedJob;
  TaskStates: Record<string, TaskState> | null;
  AllocatedResources: {
    Shared: { Networks: RecordedNetwork[] | null; Ports: AllocatedPort[] | null; [field: string]: unknown };
    [field: string]: unknown;
  };
  Resources: { Networks: RecordedNetwork[] | null; [field: string]: unknown };
  SharedResources: { Networks: RecordedNetwork[] | null; [field: string]: unknown };
  NetworkStatus: NetworkStatus;
  [field: string]: unknown;
}

/** The parts of `GET /v1/agent/self` that the stand-in changes. */
export interface RecordedAgent {
  config: {
    DataDir: string;
    Client: { AllocDir: string; [field: string]: unknown };
    Plugins: { Name: string; Config: Record<string, unknown> }[];
    [field: string]: unknown;
  };
  stats: { client: { node_id: string; [field: string]: string }; [field: string]: unknown };
  [field: string]: unknown;
}

/** The body that the podman driver posts to containers/create. */
export interface RecordedContainer {
  name: string;
  command: string[];
  env: Record<string, string>;
  image: string;
  log_configuration: { driver: string; path: string };
  mounts: { destination: string; type: string; source: string; options?: string[] }[];
  netns: { nsmode: string; value?: string };
  [field: string]: unknown;
}

/** Fresh copies of what was recorded from a real Nomad and a real driver (test/fixtures). */
export const recorded = {
  allocation: (): RecordedAllocation => read('nomad-2.0.5/allocation-web.json'),
  agent: (): RecordedAgent => read('nomad-2.0.5/agent-self.json'),
  node: (): { ID: string; [field: string]: unknown } => read('nomad-2.0.5/node.json'),
  container: (): RecordedContainer => read('podman-driver-0.6.5/container-create.json'),
};

function read<T>(file: string): T {
  return JSON.parse(readFileSync(new URL(`../../fixtures/${file}`, import.meta.url), 'utf8'));
}
