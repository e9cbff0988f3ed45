import { mkdirSync, rmdirSync } from 'node:fs';
import { mustRun } from '../command.ts';
import type { VolumeSpec } from './job.ts';

/** The volumes that a node has. */
export interface NodeVolumes {
  /** Path of each host volume by its name. */
  readonly host: ReadonlyMap<string, string>;
  /** Where the plugin of CSI volumes keeps each, by its id. */
  readonly csi: ReadonlyMap<string, string>;
  /** Below which CSI volumes are mounted for each allocation. */
  readonly csiDir: string;
}

/** The volumes that the group of one allocation claims: where they are on this node, and the mounts of those of CSI. */
export class ClaimedVolumes {
  readonly #allocationId: string;
  readonly #claims: readonly VolumeSpec[];
  readonly #node: NodeVolumes;
  readonly #mounts: string[] = [];

  constructor(allocationId: string, claims: readonly VolumeSpec[], node: NodeVolumes) {
    this.#allocationId = allocationId;
    this.#claims = claims;
    this.#node = node;
  }

  /** Where a claimed volume is, client/allocrunner/taskrunner/volume_hook.go. @throws Error where the group claims none of that name */
  sourceOf(name: string): string {
    const claim = this.#claims.find((one) => one.name === name);
    const path = claim?.type === 'csi' ? this.#targetOf(claim) : claim && this.#node.host.get(claim.source);
    if (path === undefined) throw new Error(`the group claims no volume ${name}`);
    return path;
  }

  /** Mounts what is claimed of CSI, as a plugin does when it publishes a volume. */
  async mount(): Promise<void> {
    for (const claim of this.#claims.filter(({ type }) => type === 'csi')) {
      const kept = this.#node.csi.get(claim.source);
      if (kept === undefined) throw new Error(`there is no CSI volume ${claim.source}`);
      const target = this.#targetOf(claim);
      mkdirSync(target, { recursive: true, mode: 0o700 });
      await mustRun(['mount', '--bind', ...(claim.readOnly ? ['--options', 'ro'] : []), kept, target]);
      this.#mounts.push(target);
    }
  }

  async unmount(): Promise<void> {
    for (const target of this.#mounts.splice(0)) {
      await mustRun(['umount', target]);
      rmdirSync(target);
    }
  }

  /** targetForVolume and ToFS in client/pluginmanager/csimanager. */
  #targetOf({ source, readOnly }: VolumeSpec): string {
    const usage = `${readOnly ? 'ro' : 'rw'}-file-system-single-node-writer`;
    return `${this.#node.csiDir}/node/plugin/per-alloc/${this.#allocationId}/${source}/${usage}`;
  }
}
