import * as z from 'zod';
import type { DriverFacts } from '../model/checks/nomad.ts';
import { parse } from '../parse.ts';

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
export function parseDriver(nodeJson: unknown, where: string): DriverFacts {
  const driver = parse(node, nodeJson, where).Drivers?.['podman'];
  return {
    isDetected: driver?.Detected ?? false,
    isHealthy: driver?.Healthy ?? false,
    healthDescription: driver?.HealthDescription ?? '',
  };
}
