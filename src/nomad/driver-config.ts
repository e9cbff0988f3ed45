import * as z from 'zod';
import type { DriverSocket } from '../model/driver-sockets.ts';
import { parse } from '../parse.ts';

/** How the podman driver is configured, by plugin "nomad-driver-podman" of Nomad's configuration. */
export interface DriverConfig {
  /** The sockets that it is configured with, by the names that tasks use. */
  readonly podmanSockets: readonly DriverSocket[];
  /** Whether it leaves containers that have ended: `gc { container = false }`. */
  readonly keepsContainers: boolean;
  /** `client_http_timeout`: how long it waits for an answer of Podman's, in milliseconds. */
  readonly httpTimeoutMs: number;
  /** `volumes { enabled }`: whether tasks may name paths of the host in `config.volumes`. */
  readonly takesVolumes: boolean;
}

/** The plugin's file name, which is what its block in Nomad's configuration is called by. */
const PODMAN_PLUGIN = 'nomad-driver-podman';
/** What the driver calls its socket when the configuration has no socket blocks. */
const DEFAULT_SOCKET = 'default';
/** What the driver takes where `client_http_timeout` is not set: api/api.go of nomad-driver-podman. */
const DEFAULT_TIMEOUT_MS = 60_000;
const MILLISECONDS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** One block is a list of one in HCL, and may be an object where the configuration is JSON. */
const blocks = <T extends z.ZodType>(block: T) => z.union([z.array(block), block.transform((one) => [one])]).nullish();
const podmanConfig = z.object({
  socket_path: z.string().nullish(),
  socket: blocks(z.object({ name: z.string().default(DEFAULT_SOCKET), socket_path: z.string() })),
  gc: blocks(z.object({ container: z.boolean().nullish() })),
  client_http_timeout: z.string().nullish(),
  volumes: blocks(z.object({ enabled: z.boolean().nullish() })),
});

/** Reads the driver's part of /v1/agent/self; without one, the driver's defaults. @throws ParseError */
export function driverConfigIn(plugins: readonly { Name: string; Config?: unknown }[]): DriverConfig {
  const plugin = plugins.find(({ Name }) => Name === PODMAN_PLUGIN);
  const config = parse(podmanConfig, plugin?.Config ?? {}, `agent/self: plugin ${PODMAN_PLUGIN}`);
  const single = config.socket_path ? [{ name: DEFAULT_SOCKET, socket_path: config.socket_path }] : [];
  return {
    podmanSockets: (config.socket ?? single).map(({ name, socket_path: address }) => ({
      name,
      path: address.replace(/^unix:(\/\/)?/, ''),
    })),
    keepsContainers: config.gc?.some(({ container }) => container === false) ?? false,
    httpTimeoutMs: durationIn(config.client_http_timeout ?? '') || DEFAULT_TIMEOUT_MS,
    takesVolumes: !config.volumes?.some(({ enabled }) => enabled === false),
  };
}

/** A duration of Go's, as time.ParseDuration has it; 0 for what is none, which the driver would not start with. */
function durationIn(text: string): number {
  return [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)].reduce(
    (sum, [, count, unit = '']) => sum + Number(count) * (MILLISECONDS[unit] ?? 0),
    0,
  );
}
