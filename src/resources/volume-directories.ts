import { basename, dirname, join, normalize } from 'node:path';
import { RefusedError } from '../errors.ts';
import { canonicalPath, entriesOf } from '../linux/directory.ts';
import { type Handle, isMountedIn, openAbsoluteIfThere, openMountedBeneath } from '../linux/handle.ts';
import { O } from '../linux/libc.ts';
import { isAllocationId } from '../model/allocation.ts';
import type { DesiredVolume, LiveVolume } from '../model/volume.ts';

/** Where Nomad keeps volumes on this host; absolute, as Nomad spells them. */
export interface VolumePaths {
  readonly dataDir: string;
  readonly hostVolumesDir: string;
  readonly csiDir: string;
}

/** The kinds of CSI plugins that mount volumes (client/allocrunner/taskrunner/plugin_supervisor_hook.go). */
const CSI_PLUGIN_KINDS = ['node', 'monolith'];
/** Kind, plugin, per-alloc, allocation, volume. */
const CSI_DEPTH = 5;

/**
 * The directories of volumes that users cannot reach by themselves, since Nomad keeps them below its data dir: a dynamic
 * host volume's is `<host_volumes>/<volume id>`; a CSI volume is mounted for each allocation in
 * `<csi>/<kind>/<plugin>/per-alloc/<allocation id>/<volume id>`.
 */
export class VolumeDirectories {
  readonly #paths: VolumePaths;

  constructor(paths: VolumePaths) {
    this.#paths = paths;
  }

  /** Opens the directories of what an allocation claims; none where it lies elsewhere, or is not there yet. Close them. @throws RefusedError */
  open(allocationId: string, volume: DesiredVolume): Handle[] {
    if (volume.claim.type === 'csi') return this.#openCsi(allocationId, volume);
    const opened = this.openHost(volume);
    return opened ? [opened] : [];
  }

  /** Whether a canonical path is that of what an allocation claims. */
  isOf(path: string, { id, volume }: LiveVolume): boolean {
    const { claim } = volume;
    if (claim.type === 'csi') return path.endsWith(`/per-alloc/${id}/${claim.source}`);
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
      const message = `host volume ${claim.source} is ${path}, in Nomad's data dir but no directory of ${hostVolumesDir}: it is not shown`;
      throw new RefusedError('volume_elsewhere', message);
    }
    using parent = this.#open(hostVolumesDir);
    // A plugin may have mounted a filesystem there.
    return parent && openMountedBeneath(parent, basename(normal), O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
  }

  /** The directories of all dynamic host volumes on this host. Close them. */
  openAllHost(): Handle[] {
    using parent = this.#open(this.#paths.hostVolumesDir);
    if (!parent) return [];
    return entriesOf(parent)
      .filter(isAllocationId)
      .flatMap((name) => openMountedBeneath(parent, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW) ?? []);
  }

  /** The directories of all CSI volumes on this host, those of every allocation. Close them. */
  openAllCsi(): Handle[] {
    return this.#inPluginsOfCsi((plugin) => {
      using perAlloc = openMountedBeneath(plugin, 'per-alloc', O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
      return (perAlloc ? entriesOf(perAlloc) : []).filter(isAllocationId).flatMap((id) => {
        using volumes = perAlloc && openMountedBeneath(perAlloc, id, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
        return (volumes ? entriesOf(volumes) : []).flatMap(
          (name) => (volumes && openMountedBeneath(volumes, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW)) ?? [],
        );
      });
    });
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

  /** The names in the directory of a claimed volume on which something is mounted. */
  mountedIn(directory: Handle, { claim }: DesiredVolume): string[] {
    return claim.type === 'csi' ? entriesOf(directory).filter((name) => isMountedIn(directory, name)) : [];
  }

  /** Never a volume's own root: a dead file server would stop whoever looks at it, and could stop the agent. */
  #openCsi(allocationId: string, { claim }: DesiredVolume): Handle[] {
    if (claim.source === '' || claim.source === '.' || claim.source === '..' || claim.source.includes('/')) {
      const message = `CSI volume ${JSON.stringify(claim.source)} cannot be shown: its id cannot be the name of a directory`;
      throw new RefusedError('bad_volume_id', message);
    }
    const path = join('per-alloc', allocationId, claim.source);
    return this.#inPluginsOfCsi(
      (plugin) => openMountedBeneath(plugin, path, O.RDONLY | O.DIRECTORY | O.NOFOLLOW) ?? [],
    );
  }

  /** What is found in the directory of each CSI plugin. */
  #inPluginsOfCsi(find: (plugin: Handle) => Handle | Handle[]): Handle[] {
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
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
