import { codeOf, messageOf, RefusedError } from '../errors.ts';
import type { Client } from './client.ts';
import { reach } from './forward.ts';
import { type HeldParts, startHoldMs, whenQuiet } from './held-requests.ts';
import type { AskedImage } from './images.ts';
import type { Request } from './request.ts';
import type { Route } from './route.ts';

/** How often a Podman that pulls is asked whether it answers at all, in milliseconds. */
const ASKED_EACH_MS = 10_000;

/**
 * Has the user's Podman pull an image, and answers the driver by its id alone. The driver gives what comes of it to every
 * task that wants an image of that name, whoever's it is: a pull that fails, breaks off or hangs is answered by a
 * placeholder, and the user whose pull it was hears of it at the create, where the others pull for themselves.
 *
 * Does not stop: a user whose Podman answers pings and lets the pull last, until the driver's image_pull_timeout.
 */
export async function pull(
  client: Client,
  { reference, query }: Route & { kind: 'pull' },
  request: Request,
  parts: HeldParts,
): Promise<void> {
  const { images, podman, log } = parts;
  const asked = { user: podman.name, reference, query };
  client.socket.resume();
  // It may fail at once, and takes long otherwise.
  await whenQuiet(parts);
  const end = await reach(client, startHoldMs(parts), parts);
  if (end.kind === 'abandoned') return client.count('abandoned');
  if (end.kind === 'done') end.value.destroy();
  else podman.giveUp();
  try {
    const id = await untilSilent(images.pull(asked, podman, authOf(request)), parts);
    podman.answered();
    await client.answer({ status: 200, body: JSON.stringify({ id }) }, 'passed');
  } catch (error) {
    log.info({ code: codeOf(error), reason: messageOf(error), reference }, 'an image was not pulled');
    await client.answer(
      { status: 200, body: JSON.stringify({ id: placeholderFor(asked, error, parts) }) },
      'upstream_error',
    );
  }
}

function placeholderFor(asked: AskedImage, error: unknown, { images }: HeldParts): string {
  return images.placeholder(asked, error instanceof RefusedError ? error : undefined);
}

/** @throws what the pull throws; as UserPodman.ping once it does not answer that */
async function untilSilent(pulling: Promise<string>, { podman, clock }: HeldParts): Promise<string> {
  const over = new AbortController();
  const silent = async (): Promise<never> => {
    for (;;) {
      await clock.sleep(ASKED_EACH_MS, over.signal);
      await podman.ping();
    }
  };
  const asking = silent();
  asking.catch(() => undefined); // ends with the pull
  try {
    return await Promise.race([pulling, asking]);
  } finally {
    over.abort();
  }
}

/** The credentials of the job, as the driver sends them. */
function authOf({ bytes }: Request): string | undefined {
  return /^x-registry-auth:[ \t]*(\S+)[ \t]*\r$/im.exec(bytes.toString('latin1'))?.[1];
}
