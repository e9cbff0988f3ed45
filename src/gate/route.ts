import { ParseError } from '../errors.ts';
import { isAllocationId } from '../model/allocation.ts';

/**
 * What a request is to the gate. What belongs to a task's start or to one container waits for a Podman that cannot be
 * reached; `isLong` ones can last for as long as the task, and a stopping agent does not wait for them.
 */
export type Route =
  | { readonly kind: 'create' }
  /** Would make containers without naming an allocation that can be checked, or hand over files of the host. */
  | { readonly kind: 'refused'; readonly reason: string }
  /** Asks whether Podman is there (`ping`) or what it is (`info`). */
  | { readonly kind: 'ping' | 'info' }
  /** By the name of a task's container: how a start begins. */
  | { readonly kind: 'inspect'; readonly allocationId: string; readonly task: string }
  /** Would hand over an image's archive. */
  | { readonly kind: 'load'; readonly reason: string }
  | { readonly kind: 'image'; readonly reference: string }
  /** @param query as sent, percent-encoded: the reference and what goes with it */
  | { readonly kind: 'pull'; readonly reference: string; readonly query: string }
  | { readonly kind: 'start'; readonly container: string }
  /** `isInspect`: asks what the container is; `isLogs`: for its log. */
  | (Passed & { readonly kind: 'container'; readonly isInspect: boolean; readonly isLogs: boolean })
  | (Passed & { readonly kind: 'pass' });

interface Passed {
  /** Both sides may speak raw bytes afterwards. */
  readonly isHijack: boolean;
  readonly isLong: boolean;
  /** What is answered comes piece by piece, and may have no end; everything else is one document. */
  readonly isStream: boolean;
}

/**
 * The driver opens image archives (`image = "docker-archive:…"`) as root, by whatever path the job names, and sends what it
 * reads: author and user together would read any file of the host.
 */
const LOADS_IMAGE = /^(local\/)?images\/load$/;

/** What turns into raw bytes both ways, by its path without version and `libpod/`. */
const HIJACKS = /^(exec\/[^/]+\/start|containers\/[^/]+\/attach)$/;

/** What is answered by a stream: logs, events, archives, the progress of a push. As HIJACKS. */
const STREAMS =
  /^(events|containers\/[^/]+\/(logs|export|archive)|images\/(export|.+\/(get|push))|manifests\/.+\/push|volumes\/[^/]+\/export)$/;

/** Requests beside libpod's create that make containers, by their path without version and `libpod/`. */
const MAKES_CONTAINERS: readonly (readonly [RegExp, string])[] = [
  [/^containers\/create$/, "Docker's create"],
  [/^pods\/create$/, 'creating a pod'],
  [/^(play\/kube|kube\/play)$/, 'playing Kubernetes YAML'],
  [/^(local\/)?build$/, 'building an image'],
  [/^containers\/[^/]+\/restore$/, 'restoring a container from a checkpoint'],
  [/^quadlets(\/|$)/, 'installing a quadlet'],
];

/**
 * Says what a request is, by method and target. Podman's router (gorilla/mux) cleans paths and, depending on the
 * version, looks at them encoded or decoded; here whatever any of them could take for a create counts as one.
 * @throws ParseError for bad percent-encoding
 */
export function routeOf(method: string, target: string): Route {
  const segments = segmentsOf(target);
  const query = new URLSearchParams(target.split('?').slice(1).join('?'));
  if (/^v[0-9]/i.test(segments[0] ?? '')) segments.shift();
  const isLibpod = segments[0]?.toLowerCase() === 'libpod';
  if (isLibpod) segments.shift();
  const path = segments.join('/').toLowerCase();

  if (method.toUpperCase() === 'POST') {
    if (isLibpod && path === 'containers/create') return { kind: 'create' };
    for (const [pattern, what] of MAKES_CONTAINERS) {
      if (pattern.test(path)) {
        return {
          kind: 'refused',
          reason: `${what} names no allocation, so it does not go through the gate; use the user's own podman.sock`,
        };
      }
    }
    if (LOADS_IMAGE.test(path)) {
      const reason =
        'image archives (docker-archive:, oci-archive:) do not go through the gate, since the driver reads them as root wherever they lie; push the image to a registry, or load it as the user with: podman load';
      return { kind: 'load', reason };
    }
    const reference = query.get('reference');
    if (isLibpod && path === 'images/pull' && reference) return { kind: 'pull', reference, query: query.toString() };
  }
  const [first, name = '', last] = segments;
  if (method === 'GET' && isLibpod) {
    if (path === '_ping') return { kind: 'ping' };
    if (path === 'info') return { kind: 'info' };
    if (first === 'images' && segments.length > 2 && last !== undefined && segments.at(-1) === 'json') {
      return { kind: 'image', reference: segments.slice(1, -1).join('/') };
    }
    const allocationId = name.slice(-36);
    const isInspect = first === 'containers' && segments.length === 3 && last === 'json';
    if (isInspect && name.at(-37) === '-' && isAllocationId(allocationId)) {
      return { kind: 'inspect', allocationId, task: name.slice(0, -37) };
    }
  }
  if (method === 'POST' && segments.length === 3 && first === 'containers' && last === 'start') {
    return { kind: 'start', container: name };
  }
  const isHijack = method.toUpperCase() === 'POST' && HIJACKS.test(path);
  const isLong = isHijack || isEndless(path, query);
  const isStream = isHijack || STREAMS.test(path) || (path.endsWith('/stats') && isLong);
  const isOne = first === 'containers' && segments.length > (method === 'DELETE' ? 1 : 2);
  if (!isOne) return { kind: 'pass', isHijack, isLong, isStream };
  return {
    kind: 'container',
    isInspect: method === 'GET' && segments.length === 3 && last === 'json',
    isLogs: method === 'GET' && segments.length === 3 && last === 'logs',
    isHijack,
    isLong,
    isStream,
  };
}

/** Whether a request can last for as long as a container runs, or for ever. */
function isEndless(path: string, query: URLSearchParams): boolean {
  if (path === 'events') return query.get('stream') !== 'false';
  const [first, , last] = path.split('/');
  if (first !== 'containers') return false;
  if (last === 'logs') return isTrue(query.get('follow'));
  if (last === 'stats') return query.get('stream') !== 'false';
  // The driver waits so for what it has just started to run.
  return last === 'wait' && !query.getAll('condition').includes('running');
}

function isTrue(value: string | null): boolean {
  return value === 'true' || value === '1';
}

function segmentsOf(target: string): string[] {
  const encoded = target.split('?', 1)[0] ?? '';
  if (/%(?![0-9a-fA-F]{2})/.test(encoded)) {
    throw new ParseError('path', 'percent-encoding', JSON.stringify(encoded.slice(0, 200)));
  }
  const path = encoded.replace(/%(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  const segments: string[] = [];
  for (const segment of path.split('/')) {
    if (segment === '..') segments.pop();
    else if (segment !== '' && segment !== '.') segments.push(segment);
  }
  return segments;
}
