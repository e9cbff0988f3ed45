import { ParseError } from '../errors.ts';
import { isAllocationId } from '../model/allocation.ts';

/** What a request is to the gate. `refused` ones would make containers without naming an allocation that can be checked, or hand over files of the host. */
export type Route =
  | { readonly kind: 'create' }
  | { readonly kind: 'refused'; readonly reason: string }
  | { readonly kind: 'inspect'; readonly allocationId: string }
  | { readonly kind: 'hijack' }
  | { readonly kind: 'pass' };

const PASS: Route = { kind: 'pass' };

/**
 * The driver opens image archives (`image = "docker-archive:…"`) as root, by whatever path the job names, and sends what it
 * reads: author and user together would read any file of the host.
 */
const LOADS_IMAGE = /^(local\/)?images\/load$/;

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
      return { kind: 'refused', reason };
    }
    return /^(exec\/[^/]+\/start|containers\/[^/]+\/attach)$/.test(path) ? { kind: 'hijack' } : PASS;
  }
  const [first, name = '', last] = segments;
  if (method === 'GET' && isLibpod && segments.length === 3 && first === 'containers' && last === 'json') {
    const allocationId = name.slice(-36);
    if (name.at(-37) === '-' && isAllocationId(allocationId)) return { kind: 'inspect', allocationId };
  }
  return PASS;
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
