import { join } from 'node:path';
import { RefusedError } from '../../errors.ts';
import { type CniCall, runCniPlugin } from '../../linux/net/cni-plugin.ts';
import { fileIsThere } from '../../linux/read-file.ts';
import { requireRootOnly } from '../../linux/root-only.ts';
import type { CniAttachment } from './cni-cache.ts';

/** From this version on a plugin is told what ADD gave back (DelNetworkList in libcni/api.go). */
const WITHOUT_RESULT = /^(0\.[0-3]\.|$)/;

/**
 * The calls that delete an attachment, as libcni makes them for Nomad: from the last plugin to the first, each with its own
 * configuration, and without CNI_ARGS, which Nomad gives only to ADD.
 * @param programOf where a plugin of that type lies
 */
export function deleteCalls(
  attachment: CniAttachment,
  containerId: string,
  pluginDirs: readonly string[],
  programOf: (type: string) => string,
): CniCall[] {
  const { networkName, interfaceName, netns, cniVersion, plugins, capabilityArgs, result } = attachment;
  return plugins.toReversed().map((plugin) => {
    const capable = Object.entries(capabilityArgs).filter(([name]) => plugin.capabilities?.[name] === true);
    return {
      command: 'DEL',
      program: programOf(plugin.type),
      containerId,
      netns,
      interfaceName,
      pluginPath: pluginDirs.join(':'),
      config: {
        ...plugin,
        name: networkName,
        cniVersion,
        ...(capable.length > 0 ? { runtimeConfig: Object.fromEntries(capable) } : {}),
        ...(result && !WITHOUT_RESULT.test(cniVersion) ? { prevResult: result } : {}),
      },
    };
  });
}

/**
 * Has the CNI plugins delete an attachment: links, lease, packet filters. Doing it twice does no harm.
 * @throws RefusedError `no_cni_plugin` where one is not there, `not_roots_alone` where others than root can change it;
 *   NotYetError `cni_failed`
 */
export async function deleteAttachment(
  attachment: CniAttachment,
  containerId: string,
  pluginDirs: readonly string[],
): Promise<void> {
  const programOf = (type: string) => {
    const path = pluginDirs.map((directory) => join(directory, type)).find(fileIsThere);
    if (path !== undefined) return requireRootOnly(path);
    throw new RefusedError('no_cni_plugin', `there is no CNI plugin ${type} in ${pluginDirs.join(' or ')}`);
  };
  for (const call of deleteCalls(attachment, containerId, pluginDirs, programOf)) await runCniPlugin(call);
}
