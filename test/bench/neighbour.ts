import { randomUUID } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import type { Bench } from './bench.ts';
import { type Summary, summarize } from './samples.ts';
import { TimedApi } from './timed-api.ts';

/** What one user has of another one's Podman that hangs. */
export interface NeighbourResults {
  /** The user's requests through the own gate while the other's Podman is left alone. */
  readonly quiet: Summary;
  /** The same while the other's takes connections and never answers, and the other's gate is asked all the time. */
  readonly hanging: Summary;
}

/** A list of no containers: for its version Podman starts other programs. */
const REQUEST = '/v1.0.0/libpod/containers/json';
/** Each in turn quiet and hanging, so that both see the same noise of the machine. */
const TURNS = 12;
const REQUESTS_A_TURN = 500;
const STREAM_EVERY_MS = 10;
/** As many tasks as a full node has for one user, each with a request that waits. */
const MOST_WAITING = 200;

/** Measures a user's requests beside another user's Podman that hangs. */
export async function measureNeighbour(
  { sandbox, gateSocket }: Bench,
  { user, hanging }: { readonly user: string; readonly hanging: string },
): Promise<NeighbourResults> {
  using api = new TimedApi(gateSocket(user), false);
  const turn = async () => {
    const durations: number[] = [];
    for (let sent = 0; sent < REQUESTS_A_TURN; sent++) durations.push(await api.time('GET', REQUEST, [200]));
    return durations;
  };
  await turn();
  const durations = { quiet: [] as number[], hanging: [] as number[] };
  for (let done = 0; done < TURNS; done++) {
    durations.quiet.push(...(await turn()));
    const goOn = sandbox.user(hanging).hangService();
    const ended = new AbortController();
    const stream = askOnAndOn(gateSocket(hanging), ended.signal);
    durations.hanging.push(...(await turn()));
    ended.abort();
    await stream;
    goOn();
  }
  return { quiet: summarize(durations.quiet), hanging: summarize(durations.hanging) };
}

/** Asks a gate what the driver asks it, again and again, whether it answers or not. */
async function askOnAndOn(gate: string, signal: AbortSignal): Promise<void> {
  const waiting = new Set<Socket>();
  for (let sent = 0; !signal.aborted; sent++) {
    const socket = connect(gate, () => socket.write(`GET ${asked(sent)} HTTP/1.1\r\nHost: u\r\n\r\n`));
    socket.on('error', () => socket.destroy()).on('close', () => waiting.delete(socket));
    socket.resume();
    waiting.add(socket);
    const [oldest] = waiting;
    if (waiting.size > MOST_WAITING) oldest?.destroy();
    await pause(STREAM_EVERY_MS);
  }
  for (const socket of waiting) socket.destroy();
}

function asked(turn: number): string {
  const container = 'c'.repeat(64);
  const paths = [
    `containers/${container}/stats?stream=false`,
    `containers/t-${randomUUID()}/json`,
    'images/localhost/bb:1/json',
    `containers/${container}/json`,
    '_ping',
    'info',
  ];
  return `/v1.0.0/libpod/${paths[turn % paths.length]}`;
}
