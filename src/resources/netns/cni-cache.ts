import { join } from 'node:path';
import * as z from 'zod';
import { ParseError } from '../../errors.ts';
import { directoryIsThere, entriesUpTo } from '../../linux/directory.ts';
import { openAbsolute } from '../../linux/handle.ts';
import { O } from '../../linux/libc.ts';
import { readTextIfThere } from '../../linux/read-file.ts';
import { requireRootOnly } from '../../linux/root-only.ts';
import { removeFile } from '../../linux/write-file.ts';
import { parseJson } from '../../parse.ts';

/** Where libcni keeps what it did, CacheDir in libcni/api.go of containernetworking/cni: Nomad names no other place. */
const CACHE_DIR = '/var/lib/cni';
const MOST_ENTRIES = 100_000;
const MOST_BYTES = 4 * 1024 * 1024;

/** One plugin of a network's chain, as its configuration file has it. */
const plugin = z.looseObject({
  // FindInPath in pkg/invoke takes no path either.
  type: z.string().regex(/^[^/\0]+$/),
  capabilities: z.record(z.string(), z.boolean()).nullish(),
});
const conflist = z.object({ name: z.string(), cniVersion: z.string().default(''), plugins: z.array(plugin).min(1) });
/** cachedInfo in libcni/api.go; Go has bytes in base64. */
const cachedInfo = z.object({
  kind: z.literal('cniCacheV1'),
  containerId: z.string(),
  config: z.base64().transform((text) => Buffer.from(text, 'base64').toString('utf8')),
  ifName: z.string().min(1),
  networkName: z.string().min(1),
  netns: z.string().default(''),
  capabilityArgs: z.record(z.string(), z.unknown()).nullish(),
  result: z.looseObject({}).nullish(),
});

/** How a container was attached to one network of CNI plugins. */
export interface CniAttachment {
  /** The file of the cache. */
  readonly file: string;
  readonly networkName: string;
  readonly interfaceName: string;
  readonly netns: string;
  readonly cniVersion: string;
  /** In the order of ADD. */
  readonly plugins: readonly z.output<typeof plugin>[];
  readonly capabilityArgs: Readonly<Record<string, unknown>>;
  /** What ADD gave back. */
  readonly result: object | undefined;
}

/** A file of the cache, as it was read. */
export interface CniCacheFile {
  readonly file: string;
  readonly text: string;
}

/** What libcni remembers of containers. Only root can write there; where that is not so, nothing of it is used. */
export class CniCache {
  readonly #path: string;

  constructor(path = CACHE_DIR) {
    this.#path = join(path, 'results');
  }

  /**
   * The networks that an allocation is attached to.
   * @throws RefusedError `not_roots_alone` where others can write there; ParseError where what lies there is something else
   */
  attachments(allocationId: string): CniAttachment[] {
    return this.read(allocationId).map((one) => parseAttachment(one, allocationId));
  }

  /** The same, to be parsed when it is needed. @throws RefusedError `not_roots_alone`, ParseError where a file is too long */
  read(allocationId: string): CniCacheFile[] {
    return this.#files(allocationId).map((file) => ({ file, text: readTextIfThere(file, MOST_BYTES) ?? '' }));
  }

  /** Strikes one out, once the plugins have deleted it. @throws an Error of node:fs */
  forget({ file }: CniAttachment): void {
    removeFile(file);
  }

  /** `<network>-<container id>-<interface>`. */
  #files(allocationId: string): string[] {
    if (!directoryIsThere(this.#path)) return [];
    const path = requireRootOnly(this.#path);
    using directory = openAbsolute(path, O.RDONLY | O.DIRECTORY);
    const names = entriesUpTo(directory, MOST_ENTRIES).filter((name) => name.includes(`-${allocationId}-`));
    return names.map((name) => requireRootOnly(join(path, name)));
  }
}

/** @throws ParseError where it is something else, or of another allocation */
export function parseAttachment({ file, text }: CniCacheFile, allocationId: string): CniAttachment {
  const info = parseJson(cachedInfo, text, file);
  const { name, cniVersion, plugins } = parseJson(conflist, info.config, `${file}: config`);
  if (info.containerId !== allocationId) throw new ParseError(file, `container ${allocationId}`, info.containerId);
  if (name !== info.networkName) throw new ParseError(file, `network ${info.networkName}`, name);
  return {
    file,
    networkName: info.networkName,
    interfaceName: info.ifName,
    netns: info.netns,
    cniVersion,
    plugins,
    capabilityArgs: info.capabilityArgs ?? {},
    result: info.result ?? undefined,
  };
}
