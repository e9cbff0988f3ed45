import * as z from 'zod';
import { parse } from '../parse.ts';

const node = z.object({ HostVolumes: z.record(z.string(), z.object({ Path: z.string() })).nullish() });

/**
 * The host volumes of a node as Nomad's API gives it (openapi/nomad.yaml, `Node`): name to absolute path.
 * @param where for the error
 * @throws ParseError
 */
export function parseHostVolumes(json: unknown, where: string): ReadonlyMap<string, string> {
  const { HostVolumes: volumes } = parse(node, json, where);
  return new Map(Object.entries(volumes ?? {}).map(([name, { Path }]) => [name, Path]));
}
