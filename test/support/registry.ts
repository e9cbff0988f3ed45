import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { busyboxTar } from './busybox-image.ts';

/** https://github.com/opencontainers/image-spec/blob/main/media-types.md */
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const CONFIG = 'application/vnd.oci.image.config.v1+json';
const LAYER = 'application/vnd.oci.image.layer.v1.tar';
const CREATED = '2026-01-01T00:00:00Z';

interface Blob {
  readonly type: string;
  readonly bytes: Buffer;
}

/**
 * A registry of images on the loopback interface, by plain HTTP: as much of the distribution specification as pulling takes.
 * Every name is the busybox image with a label of that name, so that each is an image of its own.
 */
export class Registry implements AsyncDisposable {
  /** Every request for a manifest by tag, in order: one for each pull. */
  readonly pulled: string[] = [];
  readonly #server: Server;
  readonly #blobs = new Map<string, Blob>();
  readonly #layer: Blob;
  #held: Promise<void> = Promise.resolve();

  /** @param layer the tar file of the images' root file system */
  constructor(layer: Buffer) {
    this.#layer = { type: LAYER, bytes: layer };
    this.#server = createServer((request, response) => void this.#answer(request.url ?? '', request.method, response));
  }

  /** Listens at a port of 127.0.0.1. */
  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  /** How a job names the image. */
  reference(name: string): string {
    const { port } = this.#server.address() as AddressInfo;
    return `127.0.0.1:${port}/${name}:1`;
  }

  /** Sends no layer and no configuration until the returned function is called: pulls are under way meanwhile. */
  hold(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#held = promise;
    return resolve;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #answer(url: string, method: string | undefined, response: ServerResponse): Promise<void> {
    const [, name, kind, reference = ''] = /^\/v2\/([^/]+)\/(manifests|blobs)\/([^/]+)$/.exec(url) ?? [];
    if (name === undefined) return void response.writeHead(url === '/v2/' ? 200 : 404).end();
    const isTag = kind === 'manifests' && reference === '1';
    if (isTag) this.pulled.push(name);
    const digest = isTag ? this.#manifestOf(name) : reference;
    const blob = this.#blobs.get(digest);
    if (!blob) return void response.writeHead(404).end();
    if (kind === 'blobs') await this.#held;
    const { type, bytes } = blob;
    response.writeHead(200, {
      'content-type': type,
      'content-length': bytes.length,
      'docker-content-digest': digest,
    });
    response.end(method === 'HEAD' ? undefined : bytes);
  }

  /** @returns its digest */
  #manifestOf(name: string): string {
    const layer = this.#add(this.#layer);
    const config = this.#addJson(CONFIG, {
      created: CREATED,
      architecture: { x64: 'amd64', arm64: 'arm64' }[process.arch as string],
      os: 'linux',
      config: { Cmd: ['/bin/sh'], Labels: { name } },
      rootfs: { type: 'layers', diff_ids: [layer.digest] },
      history: [{ created: CREATED }],
    });
    return this.#addJson(MANIFEST, { schemaVersion: 2, mediaType: MANIFEST, config, layers: [layer] }).digest;
  }

  #addJson(type: string, value: object) {
    return this.#add({ type, bytes: Buffer.from(JSON.stringify(value)) });
  }

  /** @returns how a manifest names it */
  #add(blob: Blob) {
    const digest = `sha256:${createHash('sha256').update(blob.bytes).digest('hex')}`;
    this.#blobs.set(digest, blob);
    return { mediaType: blob.type, digest, size: blob.bytes.length };
  }
}

/** Makes a registry and has it listen. */
export async function startRegistry(): Promise<Registry> {
  const registry = new Registry(readFileSync(await busyboxTar()));
  await registry.listen();
  return registry;
}
