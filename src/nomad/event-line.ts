import { z } from 'zod';
import { ParseError } from '../errors.ts';
import { isAllocationId } from '../model/allocation.ts';
import { parse } from './parse.ts';

/** What a line of the event stream says to us. */
export interface EventLine {
  /** The Raft index of the line's events; undefined in a heartbeat. */
  readonly index: number | undefined;
  /** The allocations of the node that changed. */
  readonly allocationIds: readonly string[];
}

/** `Index` is the last field of a batch. Reading it from the end spares parsing the events of all other nodes. */
const INDEX_AT_END = /"Index":(\d{1,15})\}$/;

const allocationId = z.string().refine(isAllocationId, 'a lower-case UUID');
const batch = z.object({ Events: z.array(z.object({ Topic: z.string(), Payload: z.unknown() })).nullish() });
const payload = z.object({ Allocation: z.object({ ID: allocationId, NodeID: z.string() }) });

/**
 * Reads one line of the event stream (openapi/nomad.yaml, `EventBatch`). A line in which the node's id does not occur
 * at all is not parsed: in a cluster of many nodes nearly all lines are such.
 * @throws ParseError where the line cannot be a batch, or an allocation event in it has no allocation
 */
export function readEventLine(line: string, nodeId: string): EventLine {
  if (!line.startsWith('{') || !line.endsWith('}')) throw new ParseError('event stream', 'a JSON object', shown(line));
  const index = INDEX_AT_END.exec(line.slice(-32))?.[1];
  const allocationIds = line.includes(nodeId) ? allocationsIn(line, nodeId) : [];
  return { index: index === undefined ? undefined : Number(index), allocationIds };
}

function allocationsIn(line: string, nodeId: string): string[] {
  const { Events: events } = parse(batch, parseJson(line), 'event stream');
  return (events ?? [])
    .filter(({ Topic }) => Topic === 'Allocation')
    .map((event) => parse(payload, event.Payload, 'event stream: Payload').Allocation)
    .filter(({ NodeID }) => NodeID === nodeId)
    .map(({ ID }) => ID);
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw new ParseError('event stream', 'a JSON object', shown(line), cause);
  }
}

function shown(line: string): string {
  return JSON.stringify(line.length > 80 ? `${line.slice(0, 80)}…` : line);
}
