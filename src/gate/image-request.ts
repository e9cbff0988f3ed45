import { NotYetError, RefusedError } from '../errors.ts';
import type { Client } from './client.ts';
import { MAX_LONG_DOCUMENT_BYTES } from './document.ts';
import { forward } from './forward.ts';
import { type HeldParts, startHoldMs, whenQuiet } from './held-requests.ts';
import { hold } from './hold.ts';
import { pull } from './pull.ts';
import type { Request } from './request.ts';
import type { Route } from './route.ts';

/** A look for an image that cannot be answered gets a placeholder after this long at the least, in milliseconds. */
const LEAST_PATIENCE_MS = 1000;

/**
 * Serves a request for an image once it is known that something which starts here may run. For what may not, and while that is
 * not known, nothing is asked of the user's Podman, so that it pulls nothing with the user's credentials and does not fill the
 * user's disk: the driver is given the id of no image, a placeholder, and goes on to the create, whose answer says why. A refusal would
 * not do: that of a look the driver passes over, and that of a pull it gives to every task that wants an image of that name,
 * other users' included (driver.go, createImage).
 */
export async function requestImage(
  client: Client,
  route: Route & { kind: 'image' | 'pull' },
  request: Request,
  parts: HeldParts,
): Promise<void> {
  if (request.body) client.socket.resume();
  const why = await refusalOfStarts(client, parts);
  if (why === 'abandoned') return client.count('abandoned');
  if (why) return await answerByPlaceholder(client, route, why, parts);
  const { images, podman } = parts;
  const { reference } = route;
  images.asked({ user: podman.name, reference });
  if (route.kind === 'pull') return await pull(client, route, request, parts);
  const asked = { user: podman.name, reference, query: new URLSearchParams({ reference }).toString() };
  const holdMs = startHoldMs(parts);
  return await forward(
    client,
    request,
    {
      holdMs,
      answerWithinMs: Math.max(holdMs, LEAST_PATIENCE_MS),
      maxBytes: MAX_LONG_DOCUMENT_BYTES,
      inPlace: () => ({ status: 200, body: inspected(images.placeholder(asked)) }),
      onId: (id) => images.has(id, asked),
    },
    parts,
  );
}

/** Refuses an image archive, for the reason that what starts here may not run at all where that is so. */
export async function refuseArchive(client: Client, reason: string, parts: HeldParts): Promise<void> {
  const why = await refusalOfStarts(client, parts);
  if (why === 'abandoned') return client.count('abandoned');
  await whenQuiet(parts);
  const refused = why instanceof RefusedError ? { cause: why.code, message: why.message } : undefined;
  await client.refuse({ status: 403, ...(refused ?? { cause: 'not_through_gate', message: reason }) }, 'refused');
}

/** Why nothing that starts here may run, or that this is not known; undefined where something may, or nothing starts. */
async function refusalOfStarts(
  client: Client,
  parts: HeldParts,
): Promise<RefusedError | NotYetError | 'abandoned' | undefined> {
  const { clock } = parts;
  const timeoutMs = startHoldMs(parts);
  const end = await hold((signal) => parts.starts.refusal(signal), client.socket, { timeoutMs, clock });
  if (end.kind === 'abandoned') return 'abandoned';
  if (end.kind === 'done') return end.value;
  return new NotYetError('not_decided', 'it was not known in time whether the task that starts may run');
}

async function answerByPlaceholder(
  client: Client,
  route: Route & { kind: 'image' | 'pull' },
  { code, message }: RefusedError | NotYetError,
  { images, podman, log }: HeldParts,
): Promise<void> {
  const { reference } = route;
  const query = route.kind === 'pull' ? route.query : new URLSearchParams({ reference }).toString();
  const id = images.placeholder({ user: podman.name, reference, query });
  log.info({ code, reason: message, reference }, 'an image was not looked up: the task that starts may not run');
  const body = route.kind === 'pull' ? JSON.stringify({ id }) : inspected(id);
  await client.answer({ status: 200, body }, 'refused');
}

/** As much of an image as the driver reads: its id. */
function inspected(id: string): string {
  return `{"Id":"${id}","Os":"","Architecture":""}`;
}
