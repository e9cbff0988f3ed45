import { basename, dirname, join, normalize } from 'node:path';
import { failedWith, RefusedError } from '../errors.ts';
import { canonicalPath, entriesOf } from '../linux/directory.ts';
import { type Handle, isMountedIn, openAbsoluteIfThere, openMountedBeneath } from '../linux/handle.ts';
import { O } from '../linux/libc.ts';
import { isAllocationId } from '../model/allocation.ts';
import type { DesiredVolume, LiveVolume } from '../model/volume.ts';
import type { Source } from './view/leaf.ts';

/** Where Nomad keeps volumes on this host; absolute, as Nomad spells them. */
interface VolumePaths {
  readonly dataDir: string;
  readonly hostVolumesDir: string;
  readonly csiDir: string;
}

/** The kinds of CSI plugins that mount volumes (client/allocrunner/taskrunner/plugin_supervisor_hook.go). */
const CSI_PLUGIN_KINDS = ['node', 'monolith'];
/** Kind, plugin, per-alloc, allocation, volume, usage. */
const CSI_DEPTH = 6;

/**
 * The directories of volumes that users cannot reach by themselves, since Nomad keeps them below its data dir: a dynamic
 * host volume's is `<host_volumes>/<volume id>`; a CSI volume is mounted for each allocation at
 * `<csi>/<kind>/<plugin>/per-alloc/<allocation id>/<volume id>/<usage>`.
 */
export class VolumeDirectories {
  readonly #paths: VolumePaths;

  constructor(paths: VolumePaths) {
    this.#paths = paths;
  }

  /**
   * Opens the directories of what an allocation claims, or those in which they are mounted; none where it lies elsewhere, or is not
   * there yet.
   * @param opened closes the handles
   * @throws RefusedError
   */
  open(allocationId: string, volume: DesiredVolume, opened: DisposableStack): Source[] {
    if (volume.claim.type === 'csi') return this.#openCsi(allocationId, volume, opened);
    const directory = this.openHost(volume);
    return directory ? [{ source: opened.use(directory) }] : [];
  }

  /** Whether a canonical path is that of what an allocation claims. */
  isOf(path: string, { id, volume }: LiveVolume): boolean {
    const { claim } = volume;
    if (claim.type === 'csi') return dirname(path).endsWith(`/per-alloc/${id}/${claim.source}`);
    return (
      volume.path !== undefined &&
      path === join(canonicalIfThere(this.#paths.hostVolumesDir) ?? '', basename(volume.path))
    );
  }

  /**
   * Opens the directory of a dynamic host volume.
   * @throws RefusedError `volume_elsewhere` for a path in the data dir that is no volume's: whoever answers in Nomad's
   *   place could otherwise have us show anything in there
   */
  openHost({ claim, path }: DesiredVolume): Handle | undefined {
    const { dataDir, hostVolumesDir } = this.#paths;
    if (claim.type !== 'host' || path === undefined) return undefined;
    const normal = normalize(path);
    if (!normal.startsWith(`${normalize(dataDir)}/`)) return undefined;
    if (dirname(normal) !== normalize(hostVolumesDir) || !isAllocationId(basename(normal))) {
      const message = `host volume ${claim.source} is ${path}, in Nomad's data dir but not a directory of ${hostVolumesDir}: it is not shown`;
      throw new RefusedError('volume_elsewhere', message);
    }
    return this.openHostId(basename(normal));
  }

  /** The ids of all dynamic host volumes that have a directory on this host. */
  hostIds(): string[] {
    using parent = this.#open(this.#paths.hostVolumesDir);
    return parent ? entriesOf(parent).filter(isAllocationId) : [];
  }

  /** Opens the directory of one of them. @throws SyscallError */
  openHostId(id: string): Handle | undefined {
    using parent = this.#open(this.#paths.hostVolumesDir);
    // A plugin may have mounted a filesystem there.
    return parent && openMountedBeneath(parent, id, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
  }

  /** Where the directories of volumes are, canonical, with how deep below they lie. */
  roots(): { readonly path: string; readonly depth: number }[] {
    const { hostVolumesDir, csiDir } = this.#paths;
    const known = [
      { path: canonicalIfThere(hostVolumesDir), depth: 1 },
      { path: canonicalIfThere(csiDir), depth: CSI_DEPTH },
    ];
    return known.flatMap(({ path, depth }) => (path === undefined ? [] : [{ path, depth }]));
  }

  /** What is mounted there, not gone into: nothing asks a file server, which may be dead. */
  #openCsi(allocationId: string, { claim }: DesiredVolume, opened: DisposableStack): Source[] {
    if (claim.source === '' || claim.source === '.' || claim.source === '..' || claim.source.includes('/')) {
      const message = `CSI volume ${JSON.stringify(claim.source)} cannot be shown: its id cannot be the name of a directory`;
      throw new RefusedError('bad_volume_id', message);
    }
    const path = join('per-alloc', allocationId, claim.source);
    return this.#inPluginsOfCsi((plugin) => {
      const directory = openMountedBeneath(plugin, path, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
      if (!directory) return [];
      opened.use(directory);
      const usages = entriesOf(directory).filter((name) => isMountedIn(directory, name));
      return usages.map((name) => ({ source: directory, name }));
    });
  }

  /** What is found in the directory of each CSI plugin. */
  #inPluginsOfCsi(find: (plugin: Handle) => Source[]): Source[] {
    using csi = this.#open(this.#paths.csiDir);
    if (!csi) return [];
    return CSI_PLUGIN_KINDS.flatMap((kind) => {
      using plugins = openMountedBeneath(csi, kind, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
      return (plugins ? entriesOf(plugins) : []).flatMap((name) => {
        using plugin = plugins && openMountedBeneath(plugins, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
        return plugin ? find(plugin) : [];
      });
    });
  }

  #open(path: string): Handle | undefined {
    const canonical = canonicalIfThere(path);
    return canonical === undefined ? undefined : openAbsoluteIfThere(canonical, O.RDONLY | O.DIRECTORY);
  }
}

function canonicalIfThere(path: string): string | undefined {
  try {
    return canonicalPath(path);
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return undefined;
    throw error;
  }
}
