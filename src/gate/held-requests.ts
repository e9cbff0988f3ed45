import { within } from '../clock.ts';
import { codeOf, messageOf, ParseError, RefusedError } from '../errors.ts';
import { exemplarOf, type Metrics } from '../metrics.ts';
import { type Client, fieldsOf } from './client.ts';
import { type CreateBody, parseCreateBody, unknownFields } from './create-body.ts';
import { type CreateTarget, type HostDirectories, targetOf } from './create-target.ts';
import { refuseGuarded } from './followed-paths.ts';
import { type ForwardParts, forward } from './forward.ts';
import { type HoldEnd, hold, untilDone } from './hold.ts';
import type { Hold, Holds } from './holds.ts';
import type { Images } from './images.ts';
import { refuseUnjoinable } from './join-netns.ts';
import { refuseForeignContainers } from './named-containers.ts';
import type { Readiness } from './readiness.ts';
import { MAX_BODY_BYTES, type Request } from './request.ts';
import { createdContainer } from './start.ts';
import type { Starts } from './starts.ts';

/** Of what one request says and another one needs, which comes within seconds or never. */
const MOST_NOTED = 1000;

/** Of the fields that a create has and the gate does not know, and of each of their names. */
const MOST_FIELDS_NAMED = 20;
const MOST_FIELD_LENGTH = 100;

/** How long a refusal waits at the most for what is being done to its allocation, in milliseconds. */
const QUIET_MS = 5000;

/** What holding a request until its allocation is ready needs. */
export interface HeldParts extends ForwardParts {
  /** The directories of this host; resolves once Nomad has named its own. */
  readonly directories: (signal: AbortSignal) => Promise<HostDirectories>;
  readonly readiness: Readiness;
  readonly images: Images;
  /** The containers whose create has passed and whose start is to come, of this gate. */
  readonly created: Set<string>;
  /** What is held, of all gates. */
  readonly holds: Holds;
  /** The starts that are under way at this gate. */
  readonly starts: Starts;
  /** How long a request waits for its allocation, or for a Podman that cannot be reached, in milliseconds. */
  readonly timeoutMs: number;
  readonly metrics: Pick<Metrics, 'gateRequests' | 'gateHeld' | 'gateHoldSeconds' | 'gateUnknownFields'>;
}

/** What a request of a start waits for Podman, in ms: where the first one has waited in vain, the others need not. */
export function startHoldMs({ podman, timeoutMs }: HeldParts): number {
  return podman.isGivenUp ? 0 : timeoutMs;
}

/**
 * Resolves when nothing is being done to the allocations that start at this gate. Nomad tears a network down as soon as one of
 * its tasks has failed: CNI DEL in the middle of a migration finds no link, and leaves its rules on the host until the allocation is over. So
 * nothing that fails a start is said before.
 */
export async function whenQuiet({ starts, readiness, clock }: HeldParts): Promise<void> {
  const idle = Promise.all(starts.allocationIds.map((id) => readiness.whenIdle(id)));
  await within(clock, QUIET_MS, idle);
}

/** Holds a create until its allocation is ready. Not a byte of it reaches Podman before. @throws ParseError */
export async function create(client: Client, request: Request, parts: HeldParts): Promise<void> {
  const { podman, images, created, directories } = parts;
  if (!request.body) {
    const expected = `a Content-Length of at most ${MAX_BODY_BYTES} and no Expect header`;
    throw new ParseError('container create', expected, 'another body');
  }
  const spec = parseCreateBody(request.body);
  noteUnknown(spec, parts);
  let image: string | undefined;
  const { end, target } = await holdUntilReady('create', client, parts, async (signal, held) => {
    const known = await directories(signal);
    held.target = targetOf(spec, known);
    await whenReady(spec, held.target, known, signal, parts);
    if (spec.image) image = await images.resolve(spec.image, podman, signal);
  });
  if (end.kind !== 'done') await whenQuiet(parts);
  if (spec.name != null) parts.starts.end(spec.name);
  if (end.kind !== 'done') return refuseHeld(client, end, target, parts);
  const body = image === undefined ? request.body : withImage(request.body, spec.image ?? '', image);
  const onId = (id: string) => note(created, id);
  await forward(client, { ...request, body }, { verdict: 'created', holdMs: startHoldMs(parts), onId }, parts);
}

/** Holds the start of a container from before until its allocation is ready, as its create was. */
export async function start(client: Client, container: string, request: Request, parts: HeldParts): Promise<void> {
  const { podman, directories, readiness, created, clock } = parts;
  if (!created.delete(container)) {
    // As all that the driver asks when it takes tasks up: Nomad's client answers nobody before, us not either.
    const timeoutMs = podman.patienceMs(parts.timeoutMs);
    const { end, target } = await holdUntilReady('start', client, { ...parts, timeoutMs }, async (signal, held) => {
      (await podman.connectWhenReachable(signal)).destroy();
      const known = await directories(signal);
      const found = await createdContainer(container, podman.user, known, clock);
      held.target = found?.target;
      if (!found) return;
      const answer = await readiness.ready({ ...found.target, uid: podman.user.uid }, signal);
      if (answer.mayNameAllPaths) return;
      await untilDone(() => refuseGuarded(found.spec, found.target, podman.user, known), signal, parts);
    });
    if (end.kind !== 'done') {
      await whenQuiet(parts);
      return refuseHeld(client, end, target, parts);
    }
  }
  await forward(client, request, { holdMs: startHoldMs(parts) }, parts);
}

/** Resolves once the allocation that a create names is ready for it. */
async function whenReady(
  spec: CreateBody,
  target: CreateTarget,
  directories: HostDirectories,
  signal: AbortSignal,
  parts: HeldParts,
): Promise<void> {
  const { podman, readiness, clock } = parts;
  if (podman.isGivenUp) await podman.ping();
  const user = await podman.userWhenKnown(signal);
  await untilDone(() => refuseForeignContainers(spec, target, user, clock), signal, parts);
  // Before anything is done for it: Nomad tears a network down as soon as its task is refused.
  if (target.joinsNetns) await untilDone(() => refuseUnjoinable(spec, target, user), signal, parts);
  const { mayNameAllPaths } = await readiness.ready({ ...target, uid: user.uid }, signal);
  if (mayNameAllPaths) return;
  await untilDone(() => refuseGuarded(spec, target, user, directories), signal, parts);
}

/** A newer driver or Podman may mean something by them that the gate should know. */
function noteUnknown(spec: CreateBody, { metrics, log }: HeldParts): void {
  const fields = unknownFields(spec);
  if (fields.length === 0) return;
  metrics.gateUnknownFields.inc(fields.length);
  const named = fields.slice(0, MOST_FIELDS_NAMED).map((field) => field.slice(0, MOST_FIELD_LENGTH));
  log.debug({ fields: named }, 'a create has fields that the gate does not know; they pass');
}

async function holdUntilReady(
  what: 'create' | 'start',
  client: Client,
  parts: HeldParts,
  work: (signal: AbortSignal, held: Hold) => Promise<void>,
): Promise<{ readonly end: HoldEnd<void>; readonly target: CreateTarget | undefined }> {
  const { podman, holds, metrics, clock, log } = parts;
  const from = clock.monotonic();
  using held = holds.begin(podman.name);
  metrics.gateHeld.inc();
  client.socket.resume();
  const end = await hold((signal) => work(signal, held), client.socket, parts);
  metrics.gateHeld.dec();
  const { target } = held;
  if (end.kind === 'done') {
    const ms = clock.monotonic() - from;
    const exemplarLabels = exemplarOf(target?.allocationId);
    metrics.gateHoldSeconds.observe({ labels: { user: podman.name }, value: ms / 1000, exemplarLabels });
    log.info({ ...fieldsOf(target), ms: Math.round(ms) }, `the gate let a ${what} through`);
  }
  return { end, target };
}

async function refuseHeld(
  client: Client,
  end: Exclude<HoldEnd<void>, { kind: 'done' }>,
  target: CreateTarget | undefined,
  parts: HeldParts,
): Promise<void> {
  const { podman, timeoutMs } = parts;
  if (end.kind === 'abandoned') return client.count('abandoned');
  if (end.kind === 'failed') {
    const status = end.error instanceof RefusedError ? 403 : 503;
    return client.refuse({ status, cause: codeOf(end.error), message: messageOf(end.error) }, 'refused', target);
  }
  const whose = target ? `allocation ${target.allocationId}` : 'the allocation';
  const remedy = `on this node, nomad-rootless status${target ? ` ${target.allocationId}` : ''} says what is missing`;
  const reason = end.reason?.message ?? podman.whyDown?.message;
  const because = reason === undefined ? '' : ` (${reason})`;
  const message = `${whose} was not ready for user ${podman.name} within ${timeoutMs / 1000} s${because}; ${remedy}`;
  return client.refuse({ status: 504, cause: 'not_ready', message }, 'timeout', target);
}

/** Notes something for a request that may never come. */
function note(notes: Set<string>, one: string): void {
  notes.add(one);
  for (const oldest of notes) {
    if (notes.size <= MOST_NOTED) return;
    notes.delete(oldest);
  }
}

/** Ids are of one length, and the driver writes them as they are: the rest of the body stays as it came. */
function withImage(body: Buffer, from: string, to: string): Buffer {
  const at = body.indexOf(`"${from}"`);
  if (at === -1 || from.length !== to.length) {
    throw new ParseError('container create, image', 'an id', 'another spelling');
  }
  const changed = Buffer.from(body);
  changed.write(to, at + 1);
  return changed;
}
