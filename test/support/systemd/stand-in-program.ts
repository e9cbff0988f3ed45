/**
 * `nomad.service` of a machine where no real Nomad is on PATH: the stand-in as a program of its own, which is told by HTTP
 * what to run. Its driver looks at its sockets as soon as it starts, and again and again, as the real one does.
 *
 *     node stand-in-program.ts DATA_DIR API_PORT CONTROL_PORT SOCKET_NAME=SOCKET_PATH…
 */
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout } from 'node:timers/promises';
import { messageOf } from '../../../src/errors.ts';
import { PodmanApi } from '../nomad/podman-api.ts';
import { type AllocationHandle, type JobSpec, startStandInNomad } from '../stand-in-nomad.ts';
import type { AllocationAnswer, DriverAnswer } from './stand-in-answer.ts';

/** The real driver's is 30 s. */
const FINGERPRINT_INTERVAL_MS = 2000;

const [dataDir = '', apiPort, controlPort, ...blocks] = process.argv.slice(2);
const sockets = Object.fromEntries(blocks.map((block) => block.split('=') as [string, string]));
const nomad = await startStandInNomad({ dataDir, sockets, apiPort: Number(apiPort) });
const allocations = new Map<string, { readonly handle: AllocationHandle; readonly job: JobSpec }>();
const driver: DriverAnswer = { rounds: [] };

createServer(async (request, response) => {
  try {
    response.end(JSON.stringify((await answer(`${request.method} ${request.url}`, await text(request))) ?? null));
  } catch (error) {
    response.writeHead(500).end(messageOf(error));
  }
}).listen(Number(controlPort), '127.0.0.1');

for (;;) {
  driver.rounds.push(await fingerprint());
  await setTimeout(FINGERPRINT_INTERVAL_MS);
}

async function answer(call: string, body: string): Promise<unknown> {
  if (call === 'GET /driver') return driver;
  if (call === 'POST /jobs') {
    const job: JobSpec = JSON.parse(body);
    const handle = nomad.runJob(job);
    allocations.set(handle.id, { handle, job });
    return handle.id;
  }
  const [, verb, id = ''] = /^(GET|DELETE) \/allocations\/(.+)$/.exec(call) ?? [];
  const allocation = allocations.get(id);
  if (!allocation) throw new Error(`expected a job, an allocation of one or the driver, got ${call}`);
  return verb === 'DELETE' ? allocation.handle.gc() : stateOf(allocation);
}

function stateOf({ handle, job }: { handle: AllocationHandle; job: JobSpec }): AllocationAnswer {
  const events = job.tasks.map(({ name }) => [name, handle.hasTask(name) ? handle.events(name) : []]);
  return { status: handle.status, events: Object.fromEntries(events) };
}

/** What is wrong with the sockets now. */
async function fingerprint(): Promise<readonly string[]> {
  const looks = Object.entries(sockets).map(async ([name, path]) => {
    const api = new PodmanApi(path);
    for (const asked of ['/libpod/_ping', '/v1.0.0/libpod/info']) {
      const { status } = await api.call('GET', asked);
      if (status !== 200) throw new Error(`socket ${name}: ${asked}: status code ${status}`);
    }
    api.close();
  });
  const outcomes = await Promise.allSettled(looks);
  return outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [messageOf(outcome.reason)] : []));
}
