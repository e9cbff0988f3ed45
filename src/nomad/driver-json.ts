import * as z from 'zod';
import { parse } from '../parse.ts';

/** What Nomad says of the podman driver on a node. */
export interface DriverReport {
  readonly isDetected: boolean;
  readonly isHealthy: boolean;
  readonly healthDescription: string;
}

const node = z.object({
  Drivers: z
    .record(
      z.string(),
      z.object({ Detected: z.boolean(), Healthy: z.boolean(), HealthDescription: z.string().default('') }).nullish(),
    )
    .nullish(),
});

/**
 * Reads what /v1/node/<id> says of the driver; openapi/nomad.yaml, `Node`.
 * @param where for the error
 * @throws ParseError
 */
export function parseDriver(nodeJson: unknown, where: string): DriverReport {
  const driver = parse(node, nodeJson, where).Drivers?.['podman'];
  return {
    isDetected: driver?.Detected ?? false,
    isHealthy: driver?.Healthy ?? false,
    healthDescription: driver?.HealthDescription ?? '',
  };
}
