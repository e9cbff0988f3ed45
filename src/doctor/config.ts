import type { Config } from '../config/config.ts';
import { type LoadedConfig, loadConfig } from '../config/load-config.ts';
import { messageOf } from '../errors.ts';
import { canonicalPathIfThere } from '../linux/directory.ts';
import { openAbsoluteIfThere } from '../linux/handle.ts';
import { O } from '../linux/libc.ts';
import { changeableByOthers } from '../linux/root-only.ts';
import { stat } from '../linux/stat.ts';
import { shellWord } from '../model/checks/check.ts';
import type { ConfigFacts } from '../model/checks/host.ts';

const READABLE_BY_OTHERS = 0o044;

/**
 * The configuration, and what its checks go by.
 * @param file as loadConfig takes it
 * @param asked the one user that was asked for
 * @returns without `config` where it cannot be used
 */
export function configFacts(
  file: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
  asked: string | undefined,
): { readonly facts: ConfigFacts; readonly config: Config | undefined } {
  try {
    const loaded = loadConfig({ file, env });
    return { facts: { ...factsOf(loaded), asked }, config: loaded.config };
  } catch (error) {
    const nothing = { unsafe: undefined, openTokenFile: undefined, users: [], asked };
    return { facts: { file, problem: messageOf(error), ...nothing }, config: undefined };
  }
}

/** What the checks go by of a configuration that can be used. */
export function factsOf(loaded: LoadedConfig): Omit<ConfigFacts, 'asked'> {
  const { file, config } = loaded;
  const [unsafe, open] = [unsafeIn(loaded), openTokenFile(loaded)];
  return { file, problem: undefined, users: [...config.users.keys()], unsafe, openTokenFile: open };
}

function unsafeIn({ file }: LoadedConfig): ConfigFacts['unsafe'] {
  const other = file === undefined ? undefined : changeableByOthers(canonicalPathIfThere(file));
  if (!other) return undefined;
  const path = shellWord(other.path);
  return { found: other.found, remedy: `chown root ${path} && chmod go-w ${path}` };
}

function openTokenFile({ file, config, origin }: LoadedConfig): string | undefined {
  const isWritten = config.nomad.token !== undefined && origin.get('nomad.token') === 'file';
  const path = isWritten ? file : config.nomad.tokenFile;
  if (path === undefined) return undefined;
  using opened = openAbsoluteIfThere(canonicalPathIfThere(path), O.PATH | O.NOFOLLOW);
  return opened && (stat(opened).mode & READABLE_BY_OTHERS) !== 0 ? path : undefined;
}
