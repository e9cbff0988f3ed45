/**
 * Asks gates one thing after the other as the driver does, each on a connection of its own, until SIGTERM. Prints a line when
 * it has asked each of them once, and in the end what came of it as JSON (gate-probe.ts). Never more than one connection waits
 * at a gate.
 *
 *     node gate-prober.ts SOCKET_PATH…
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout } from 'node:timers/promises';
import { messageOf } from '../../../src/errors.ts';
import type { ProbeResult } from './gate-probe.ts';

const PAUSE_MS = 20;
const REQUEST = 'GET /libpod/_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n';

const result: ProbeResult = { answered: 0, refused: {}, cut: {} };
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());

const paths = process.argv.slice(2);
await Promise.all(paths.map(ask));
console.log('has asked all');
await Promise.all(paths.map(askOnAndOn));
console.log(JSON.stringify(result));

async function askOnAndOn(path: string): Promise<void> {
  while (!stop.signal.aborted) {
    await setTimeout(PAUSE_MS);
    await ask(path);
  }
}

async function ask(path: string): Promise<void> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
  } catch (error) {
    count(result.refused, messageOf(error));
    return;
  }
  try {
    socket.write(REQUEST);
    const answer = await text(socket);
    if (/^HTTP\/1\.1 200 /.test(answer)) result.answered += 1;
    else count(result.cut, `expected 200, got ${JSON.stringify(answer.slice(0, 200))}`);
  } catch (error) {
    count(result.cut, messageOf(error));
  }
}

function count(reasons: Record<string, number>, reason: string): void {
  reasons[reason] = (reasons[reason] ?? 0) + 1;
}
