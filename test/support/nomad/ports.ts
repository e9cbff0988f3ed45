import type { PortMapping } from './cni.ts';
import type { NetworkStatus, RecordedNetwork, RecordedPort } from './recorded.ts';

/** A port of a group's network block. */
export interface PortSpec {
  readonly label: string;
  /** The port inside; the host's own unless told. */
  readonly to?: number;
  /** The port of the host; one that Nomad chooses unless told. */
  readonly static?: number;
}

/** A port that an allocation has: `AllocatedResources.Shared.Ports`. A `To` of 0 is left out. */
export interface AllocatedPort {
  readonly Label: string;
  /** The port of the host. */
  readonly Value: number;
  readonly To?: number;
  readonly HostIP: string;
}

/** The address of the host's ports: that of the node's only interface, the loopback. */
export const HOST_IP = '127.0.0.1';

/** Nomad's `min_dynamic_port`. */
const FIRST_DYNAMIC_PORT = 20_000;

/** Gives out the node's ports, none of them twice. */
export class HostPorts {
  #next = FIRST_DYNAMIC_PORT;

  /** Static ports come first, as Nomad has them. */
  allocate(specs: readonly PortSpec[]): AllocatedPort[] {
    return [...specs.filter(isStatic), ...specs.filter((spec) => !isStatic(spec))].map((spec) => ({
      Label: spec.label,
      Value: spec.static ?? this.#next++,
      ...given({ To: spec.to }),
      HostIP: HOST_IP,
    }));
  }
}

/**
 * A group's network block: as a registered job has it or, with the ports that were given out, as its allocation has it.
 * Null where the group has none.
 */
export function networkBlock(
  mode: string | undefined,
  specs: readonly PortSpec[] = [],
  allocated?: readonly AllocatedPort[],
): RecordedNetwork[] | null {
  if (mode === undefined) {
    if (specs.length > 0) throw new Error('ports are given for a group without a networkMode');
    return null;
  }
  const port = ({ label, to, static: value }: PortSpec): RecordedPort => {
    const Value = allocated?.find(({ Label }) => Label === label)?.Value ?? value;
    return { HostNetwork: 'default', Label: label, ...given({ To: to, Value }) };
  };
  const dynamic = specs.filter((spec) => !isStatic(spec)).map(port);
  const reserved = specs.filter(isStatic).map(port);
  return [
    {
      Mode: mode,
      ...given({
        IP: allocated && HOST_IP,
        DynamicPorts: dynamic.length > 0 ? dynamic : undefined,
        ReservedPorts: reserved.length > 0 ? reserved : undefined,
      }),
    },
  ];
}

/** What the portmap plugin is told: each port for TCP and for UDP. Nomad leaves the host's address open. */
export function portMappings(ports: readonly AllocatedPort[]): PortMapping[] {
  return ports.flatMap(({ Value, To }) =>
    (['tcp', 'udp'] as const).map((protocol) => ({ hostPort: Value, containerPort: To ?? Value, protocol })),
  );
}

/** A task's environment for its group's ports; `status` where a CNI plugin has given the group an address. */
export function portEnvironment(ports: readonly AllocatedPort[], status?: NetworkStatus): Record<string, string> {
  return Object.fromEntries(
    ports.flatMap(({ Label, Value, To, HostIP }) => {
      const inside = String(To ?? Value);
      return [
        [`NOMAD_ADDR_${Label}`, `${HostIP}:${Value}`],
        ...(status
          ? [
              [`NOMAD_ALLOC_ADDR_${Label}`, `${status.Address}:${inside}`],
              [`NOMAD_ALLOC_INTERFACE_${Label}`, status.InterfaceName],
              [`NOMAD_ALLOC_IP_${Label}`, status.Address],
            ]
          : []),
        [`NOMAD_ALLOC_PORT_${Label}`, inside],
        [`NOMAD_HOST_ADDR_${Label}`, `${HostIP}:${Value}`],
        [`NOMAD_HOST_IP_${Label}`, HostIP],
        [`NOMAD_HOST_PORT_${Label}`, String(Value)],
        [`NOMAD_IP_${Label}`, HostIP],
        [`NOMAD_PORT_${Label}`, inside],
      ];
    }),
  );
}

function isStatic(spec: PortSpec): boolean {
  return spec.static !== undefined;
}

/** Nomad leaves out what is empty. */
function given<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
