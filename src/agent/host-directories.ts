import type { Config } from '../config/config.ts';
import type { HostDirectories } from '../gate/create-target.ts';
import { canonicalPathIfThere } from '../linux/directory.ts';
import type { ClientPaths } from '../nomad/agent-self.ts';

type OwnPaths = Pick<Config, 'admin' | 'gate' | 'stateDir'>;

/** What the gates go by on this host: found once for what Nomad says of itself. The returned function throws an Error of node:fs */
export function directoriesBy(config: OwnPaths): (client: ClientPaths) => HostDirectories {
  let known: { readonly client: ClientPaths; readonly directories: HostDirectories } | undefined;
  return (client) => {
    if (known?.client !== client) known = { client, directories: hostDirectories(client, config) };
    return known.directories;
  };
}

function hostDirectories(
  { dataDir, allocDir, stateDir, hostVolumesDir }: ClientPaths,
  config: OwnPaths,
): HostDirectories {
  const clientDirs = [stateDir, hostVolumesDir];
  const all = [dataDir, allocDir, ...clientDirs, config.gate.dir, config.stateDir, config.admin.socket];
  return {
    dataDir,
    allocDir,
    canonicalAllocDir: canonicalPathIfThere(allocDir),
    clientDirs,
    guarded: [...new Set([...all, ...all.map(canonicalPathIfThere)])],
  };
}
