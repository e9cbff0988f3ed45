import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Attachment, CniResult, Conflist } from './cni.ts';

/** Keeps what was added where, and as, Nomad's libcni keeps it (cachedInfo in libcni/api.go, v1.3.0). */
export class CniCache {
  readonly #directory: string;

  /** @param path libcni's is /var/lib/cni, wherever Nomad's data_dir is */
  constructor(path: string) {
    this.#directory = join(path, 'results');
  }

  add(conflist: Conflist, attachment: Attachment, interfaceName: string, result: CniResult): void {
    const { containerId, netns, args, portMappings } = attachment;
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    const info = {
      kind: 'cniCacheV1',
      containerId,
      config: Buffer.from(JSON.stringify(conflist)).toString('base64'),
      ifName: interfaceName,
      networkName: conflist.name,
      netns,
      cniArgs: Object.entries(args),
      capabilityArgs: { portMappings },
      result,
    };
    writeFileSync(this.#path(conflist, attachment, interfaceName), JSON.stringify(info), { mode: 0o600 });
  }

  remove(conflist: Conflist, attachment: Attachment, interfaceName: string): void {
    rmSync(this.#path(conflist, attachment, interfaceName), { force: true });
  }

  #path({ name }: Conflist, { containerId }: Attachment, interfaceName: string): string {
    return join(this.#directory, `${name}-${containerId}-${interfaceName}`);
  }
}
