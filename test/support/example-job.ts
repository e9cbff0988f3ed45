import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import type { JobSpec, TaskSpec } from './nomad/job.ts';
import { IMAGE } from './sandbox.ts';

const EXAMPLES = fileURLToPath(new URL('../../examples', import.meta.url));
const RECORDED = fileURLToPath(new URL('../fixtures/examples', import.meta.url));
const SUFFIX = '.nomad.hcl';
/** The image of all examples; a sandbox has another one, with the same programs. */
const EXAMPLE_IMAGE = 'docker.io/library/busybox:1.37';

/** What `-output` has although a job does not say it. */
const UNSAID_OF_JOB = { Dispatched: z.literal(false) };

const task = z.strictObject({
  Name: z.string(),
  Driver: z.literal('podman'),
  Config: z.strictObject({
    socket: z.string(),
    image: z.literal(EXAMPLE_IMAGE),
    command: z.string(),
    args: z.array(z.string()),
    network_mode: z.string().optional(),
    userns: z.literal('keep-id').optional(),
  }),
  Meta: z.record(z.string(), z.string()).optional(),
  Lifecycle: z
    .object({ Hook: z.enum(['prestart', 'poststart', 'poststop']), Sidecar: z.boolean().optional() })
    .optional(),
  VolumeMounts: z.array(z.object({ Volume: z.string(), Destination: z.string() })).optional(),
  Resources: z.unknown(),
  // What HCL says of these when a job does not.
  User: z.literal(''),
  Leader: z.literal(false),
  ShutdownDelay: z.literal(0),
  KillSignal: z.literal(''),
  Kind: z.literal(''),
});
const group = z.strictObject({
  Name: z.string(),
  Tasks: z.array(task),
  Networks: z
    .tuple([
      z.object({
        Mode: z.string(),
        DynamicPorts: z.array(z.object({ Label: z.string(), To: z.int() })).optional(),
        ReservedPorts: z.undefined().optional(),
      }),
    ])
    .optional(),
  Volumes: z.record(z.string(), z.object({ Type: z.literal('host'), Source: z.string() })).optional(),
});
const job = z.strictObject({
  ID: z.string(),
  Name: z.string(),
  Type: z.literal('batch').optional(),
  Meta: z.record(z.string(), z.string()).optional(),
  TaskGroups: z.tuple([group]),
  ...UNSAID_OF_JOB,
});

/** The names of the jobs in examples/. */
export function exampleNames(): string[] {
  const files = readdirSync(EXAMPLES).filter((name) => name.endsWith(SUFFIX));
  return files.map((name) => basename(name, SUFFIX));
}

/** The file of an example. */
export function exampleFile(name: string): string {
  return join(EXAMPLES, name + SUFFIX);
}

/** What `nomad job run -output` makes of an example, as it was recorded. Without Nomad nothing can read HCL. */
export function recordedExample(name: string): unknown {
  return JSON.parse(readFileSync(join(RECORDED, `${name}.json`), 'utf8'));
}

/** JSON that Nomad wrote, without the fields that say nothing: which there are, differs between versions. */
export function withoutNulls(text: string): unknown {
  return JSON.parse(text, (_, value: unknown) => (value === null ? undefined : value));
}

/**
 * An example for the stand-in, with the sandbox's image.
 * @throws ZodError where it has what the stand-in would not do
 */
export function exampleJob(name: string): JobSpec {
  const { ID, Type, Meta, TaskGroups } = z.object({ Job: job }).parse(recordedExample(name)).Job;
  const [{ Name, Tasks, Networks, Volumes = {} }] = TaskGroups;
  const [network] = Networks ?? [];
  const ports = network?.DynamicPorts?.map(({ Label, To }) => ({ label: Label, ...(To === 0 ? {} : { to: To }) }));
  const volumes = Object.entries(Volumes).map(([volume, { Type: type, Source: source }]) => ({
    name: volume,
    type,
    source,
  }));
  return {
    id: ID,
    ...(Type === 'batch' ? {} : { type: 'service' }),
    ...(Meta ? { meta: Meta } : {}),
    group: Name,
    tasks: Tasks.map(taskOf),
    ...(network ? { networkMode: network.Mode } : {}),
    ...(ports ? { ports } : {}),
    ...(volumes.length > 0 ? { volumes } : {}),
  };
}

function taskOf({ Name, Config, Meta, Lifecycle, VolumeMounts }: z.infer<typeof task>): TaskSpec {
  const { socket, command, args, network_mode: networkMode, userns } = Config;
  const mounts = VolumeMounts?.map(({ Volume, Destination }) => ({ volume: Volume, destination: Destination }));
  return {
    name: Name,
    socket,
    image: IMAGE,
    command,
    args,
    ...(networkMode === undefined ? {} : { networkMode }),
    ...(userns === undefined ? {} : { userns }),
    ...(Meta ? { meta: Meta } : {}),
    ...(Lifecycle ? { lifecycle: { hook: Lifecycle.Hook, sidecar: Lifecycle.Sidecar ?? false } } : {}),
    ...(mounts ? { volumeMounts: mounts } : {}),
  };
}

/**
 * The body of `PUT /v1/jobs` for an example: as its file has it, but for the sandbox's image, and for disks and logs small
 * enough for the sandbox.
 */
export function exampleRegistration(output: string): object {
  const text = output.replaceAll(JSON.stringify(EXAMPLE_IMAGE), JSON.stringify(IMAGE));
  return JSON.parse(text, (key, value: unknown) => {
    if (key === 'EphemeralDisk') return { SizeMB: 10 };
    return key === 'LogConfig' ? { MaxFiles: 1, MaxFileSizeMB: 1 } : value;
  }) as object;
}
