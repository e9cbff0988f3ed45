import * as z from 'zod';
import { ParseError } from '../errors.ts';
import { isAllocationId } from '../model/allocation.ts';
import { parse } from '../parse.ts';
import type { Line } from './split-lines.ts';

/** What a line of the event stream says to us. */
export interface EventLine {
  /** The Raft index of the line's events; undefined in a heartbeat. */
  readonly index: number | undefined;
  /** The allocations of the node that changed. */
  readonly allocationIds: readonly string[];
  /** What could not be read and may have been about allocations of the node, so that they have to be listed. */
  readonly problems: readonly ParseError[];
}

const OPENING_BRACE = 0x7b;
const CLOSING_BRACE = 0x7d;
const HEARTBEAT = Buffer.from('{}');
/** As many bytes as an index with its key takes at most. */
const INDEX_BYTES = 32;
/** Nomad sorts the keys: a batch ends with its index. */
const INDEX_AT_END = /"Index":(\d{1,15})\}$/;
/** The other order that a batch of two keys can have. */
const INDEX_AT_START = /^\{"Index":(\d{1,15}),/;

const allocationId = z.string().refine(isAllocationId, 'a lower-case UUID');
const event = z.object({ Topic: z.string(), Payload: z.unknown() });
const batch = z.object({ Index: z.int().nonnegative().optional(), Events: z.array(event).nullish() });
const payload = z.object({ Allocation: z.object({ ID: allocationId, NodeID: z.string() }) });

/**
 * Reads one line of the event stream (openapi/nomad.yaml, `EventBatch`). A line in which the node's id does not occur
 * at all is neither decoded nor parsed: in a cluster of many nodes nearly all lines are such. Nomad writes ids as they
 * are, without escapes.
 * @throws ParseError for a line that is no batch and does not name the node
 */
export function readEventLine({ bytes, cut }: Line, nodeId: string): EventLine {
  if (cut) {
    const problem = new ParseError('event stream', 'a line of a size that can be taken', 'a longer one');
    return { index: indexIn(INDEX_AT_END, bytes.subarray(-INDEX_BYTES)), allocationIds: [], problems: [problem] };
  }
  if (bytes.equals(HEARTBEAT)) return { index: undefined, allocationIds: [], problems: [] };
  if (bytes.includes(nodeId, 0, 'latin1')) return readOwn(bytes, nodeId);
  if (bytes[0] !== OPENING_BRACE || bytes.at(-1) !== CLOSING_BRACE) throw noObject(bytes);
  return { index: foreignIndex(bytes), allocationIds: [], problems: [] };
}

/** A batch whose keys stand in an order that we do not know has to be parsed for its index. */
function foreignIndex(bytes: Buffer): number | undefined {
  return (
    indexIn(INDEX_AT_END, bytes.subarray(-INDEX_BYTES)) ??
    indexIn(INDEX_AT_START, bytes.subarray(0, INDEX_BYTES)) ??
    parse(batch, parseJson(bytes), 'event stream').Index
  );
}

function indexIn(pattern: RegExp, bytes: Buffer): number | undefined {
  const digits = pattern.exec(bytes.toString('latin1'))?.[1];
  return digits === undefined ? undefined : Number(digits);
}

function readOwn(bytes: Buffer, nodeId: string): EventLine {
  const whole = attempt(() => parse(batch, parseJson(bytes), 'event stream'));
  if (whole instanceof ParseError) return { index: undefined, allocationIds: [], problems: [whole] };
  const allocations = (whole.Events ?? [])
    .filter(({ Topic }) => Topic === 'Allocation')
    .map((one) => attempt(() => parse(payload, one.Payload, 'event stream: Payload').Allocation));
  return {
    index: whole.Index,
    allocationIds: allocations.flatMap((one) => (one instanceof ParseError || one.NodeID !== nodeId ? [] : one.ID)),
    problems: allocations.filter((one) => one instanceof ParseError),
  };
}

function attempt<T>(read: () => T): T | ParseError {
  try {
    return read();
  } catch (error) {
    if (error instanceof ParseError) return error;
    throw error;
  }
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw noObject(bytes, cause);
  }
}

function noObject(bytes: Buffer, cause?: unknown): ParseError {
  const text = bytes.length > 80 ? `${bytes.toString('utf8', 0, 80)}…` : bytes.toString('utf8');
  return new ParseError('event stream', 'a JSON object', JSON.stringify(text), cause);
}
