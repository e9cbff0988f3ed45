import { NomadClient, type NomadClientOptions } from '@hashicorp/nomad-client-ts';
import { NotYetError, ParseError, RefusedError, RootlessError } from '../errors.ts';
import { type Allocation, isAllocationId } from '../model/allocation.ts';
import type { DriverFacts } from '../model/checks/nomad.ts';
import { collectYoungGarbage } from '../young-garbage.ts';
import { type AgentSelf, type KnownOfSelf, parseAgentSelf } from './agent-self.ts';
import { allocationIdIn, namespaceIn, parseAllocation } from './allocation-json.ts';
import { parseDriver } from './driver-json.ts';
import { parseHostVolumes } from './node-json.ts';
import { AGENT_READ, failureOf, isNoSuchAllocation, NODE_READ, READ_JOB, type Right } from './nomad-failure.ts';
import { type Line, splitLines } from './split-lines.ts';

/** The allocations of a node that the token may read. One that is missing may still exist: ask for it by its id. */
export interface AllocationListing {
  readonly allocations: readonly Allocation[];
  /** The ones that could not be read, with their ids where even those could be. */
  readonly malformed: readonly { readonly id: string | undefined; readonly error: RootlessError }[];
}

/** Where the event stream starts. */
export interface EventStart {
  readonly index: number;
  readonly namespaces: ReadonlySet<string>;
}

/** Far above the largest batch seen; a plan of ten thousand allocations stays below. In bytes. */
const MAX_EVENT_LINE = 32 * 2 ** 20;

/** After so many bytes of events the memory that they were read into is given back. */
const MUCH_GARBAGE = 2 * 2 ** 20;

/**
 * The only door to Nomad. Its methods throw NotYetError where asking again may help (`nomad_unreachable`, `nomad_denied`,
 * `nomad_error`), ParseError where the answer is not what Nomad gives, and the signal's reason when it is aborted.
 *
 * Whoever answers on Nomad's address is believed, as far as the answer is well formed: TLS or a socket that only root
 * can bind is what stops an impostor, not this class.
 */
export class Nomad {
  readonly #client: NomadClient;

  /** @throws RefusedError `bad_nomad_address` */
  constructor(options: NomadClientOptions) {
    try {
      this.#client = new NomadClient(options);
    } catch (cause) {
      throw new RefusedError('bad_nomad_address', `cannot use ${options.address} as nomad.address`, cause);
    }
  }

  /**
   * What the agent that answers says of itself.
   * @param known what need not come from Nomad
   * @throws RefusedError `nomad_not_a_client`, `nomad_no_data_dir`
   */
  async self(signal: AbortSignal, known: KnownOfSelf = {}): Promise<AgentSelf> {
    const { data } = await ask(AGENT_READ, () => this.#client.agentSelf({ signal }));
    return parseAgentSelf(data, known);
  }

  /**
   * One allocation; undefined only where Nomad says in so many words that there is none.
   * @throws RefusedError `bad_id` for what is not an allocation id
   */
  async allocation(id: string, signal: AbortSignal): Promise<Allocation | undefined> {
    requireUuid(id, "an allocation's id");
    const answer = await ask(READ_JOB, async () => {
      try {
        return await this.#client.allocation(id, { signal });
      } catch (error) {
        if (isNoSuchAllocation(error)) return undefined;
        throw error;
      }
    });
    if (!answer) return undefined;
    const allocation = parseAllocation(answer.data);
    if (allocation.id !== id) throw new ParseError(`allocation ${id}.ID`, id, allocation.id);
    return allocation;
  }

  /**
   * The allocations of a node.
   * @throws RefusedError `bad_id` for what is no node id
   */
  async nodeAllocations(nodeId: string, signal: AbortSignal): Promise<AllocationListing> {
    const { data } = await this.#list(nodeId, signal);
    const allocations: Allocation[] = [];
    const malformed: { id: string | undefined; error: RootlessError }[] = [];
    for (const json of data) {
      try {
        allocations.push(parseAllocation(json));
      } catch (error) {
        if (!(error instanceof RootlessError)) throw error;
        malformed.push({ id: allocationIdIn(json), error });
      }
    }
    return { allocations, malformed };
  }

  /**
   * The host volumes of a node, dynamic ones and those of its configuration: name to absolute path.
   * @throws RefusedError `bad_id` for what is no node id
   */
  async hostVolumes(nodeId: string, signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
    requireUuid(nodeId, "a node's id");
    const { data } = await ask(NODE_READ, () => this.#client.node(nodeId, { signal }));
    return parseHostVolumes(data, `node ${nodeId}`);
  }

  /**
   * What Nomad says of the podman driver of a node.
   * @throws RefusedError `bad_id` for what is no node id
   */
  async driver(nodeId: string, signal: AbortSignal): Promise<DriverFacts> {
    requireUuid(nodeId, "a node's id");
    const { data } = await ask(NODE_READ, () => this.#client.node(nodeId, { signal }));
    return parseDriver(data, `node ${nodeId}`);
  }

  /**
   * A place from which the event stream can start where no event was seen yet: the index of the node's allocations now,
   * and the namespaces that they are in.
   * @throws RefusedError `bad_id` for what is no node id
   */
  async eventStart(nodeId: string, signal: AbortSignal): Promise<EventStart> {
    const { data, index } = await this.#list(nodeId, signal);
    return { index, namespaces: new Set(data.flatMap((json) => namespaceIn(json) ?? [])) };
  }

  /**
   * The lines of the event stream, topic Allocation, all namespaces, from that index on; see readEventLine. Ends when
   * Nomad hangs up. There is no time-out: without the right to read, the stream stands and says nothing at all. A line of
   * more than 32 MiB is cut.
   */
  async *eventLines({ index }: { readonly index: number }, signal: AbortSignal): AsyncGenerator<Line, void> {
    const query = { topics: ['Allocation'], namespace: '*', index, signal };
    const stream = await ask(READ_JOB, () => this.#client.eventStream(query));
    try {
      let bytes = 0;
      for await (const line of splitLines(stream, MAX_EVENT_LINE)) {
        yield line;
        bytes += line.bytes.length;
        if (bytes < MUCH_GARBAGE) continue;
        bytes = 0;
        collectYoungGarbage();
      }
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (error instanceof RootlessError) throw error;
      throw new NotYetError('nomad_unreachable', 'the event stream was interrupted', error);
    }
  }

  /** Breaks every connection off; requests in flight fail. */
  close(): Promise<void> {
    return this.#client.close();
  }

  async #list(nodeId: string, signal: AbortSignal) {
    requireUuid(nodeId, "a node's id");
    const { data, index } = await ask(NODE_READ, () => this.#client.nodeAllocations(nodeId, { signal }));
    const where = `node ${nodeId}'s allocations`;
    if (!Array.isArray(data)) throw new ParseError(where, 'a list', typeof data);
    if (index === undefined) throw new ParseError(where, 'the header X-Nomad-Index', 'none');
    return { data, index };
  }
}

async function ask<T>(right: Right, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw failureOf(error, right);
  }
}

/** Stops what a create body or a file name made us believe to be an id from steering the request's path. */
function requireUuid(id: string, what: string): void {
  if (!isAllocationId(id)) throw new RefusedError('bad_id', `expected ${what}, got ${JSON.stringify(id.slice(0, 80))}`);
}
