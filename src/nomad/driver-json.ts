import * as z from 'zod';
import { parse } from '../parse.ts';
import { blocks, PODMAN_PLUGIN } from './agent-self.ts';

/** What Nomad says of the podman driver on a node, and what of its configuration has to fit ours. */
export interface DriverReport {
  readonly isDetected: boolean;
  readonly isHealthy: boolean;
  readonly healthDescription: string;
  /** How long it waits for an answer of Podman's, in milliseconds. */
  readonly httpTimeoutMs: number;
  /** Whether tasks may name paths of the host in `config.volumes`. */
  readonly takesVolumes: boolean;
}

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

const self = z.object({
  config: z.object({ Plugins: z.array(z.object({ Name: z.string(), Config: z.unknown() })).nullish() }),
});
const pluginConfig = z
  .object({
    client_http_timeout: z.string().nullish(),
    volumes: blocks(z.object({ enabled: z.boolean().nullish() })),
  })
  .nullish();
const node = z.object({
  Drivers: z
    .record(
      z.string(),
      z.object({ Detected: z.boolean(), Healthy: z.boolean(), HealthDescription: z.string().default('') }).nullish(),
    )
    .nullish(),
});

/**
 * Reads what /v1/agent/self and /v1/node/<id> say of the driver; openapi/nomad.yaml, `AgentSelf` and `Node`.
 * @param where for the error
 * @throws ParseError
 */
export function parseDriver(selfJson: unknown, nodeJson: unknown, where: string): DriverReport {
  const plugins = parse(self, selfJson, 'agent/self').config.Plugins ?? [];
  const plugin = plugins.find(({ Name }) => Name === PODMAN_PLUGIN);
  const config = parse(pluginConfig, plugin?.Config, `agent/self: plugin ${PODMAN_PLUGIN}`);
  const driver = parse(node, nodeJson, where).Drivers?.['podman'];
  return {
    isDetected: driver?.Detected ?? false,
    isHealthy: driver?.Healthy ?? false,
    healthDescription: driver?.HealthDescription ?? '',
    httpTimeoutMs: durationIn(config?.client_http_timeout ?? '') || DEFAULT_TIMEOUT_MS,
    takesVolumes: !config?.volumes?.some(({ enabled }) => enabled === false),
  };
}

/** A duration of Go's, as time.ParseDuration has it; 0 for what is none, which the driver would not start with. */
function durationIn(text: string): number {
  return [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)].reduce(
    (sum, [, count, unit = '']) => sum + Number(count) * (MILLISECONDS[unit] ?? 0),
    0,
  );
}
