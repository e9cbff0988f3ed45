import { readTextIfThere } from '../linux/read-file.ts';
import type { NomadConfig } from './config.ts';

const MOST_BYTES = 64 * 1024;
const NAME_OF_SECRET = /token|secret|passw|passphrase|credential|key/i;

/**
 * What must be in nothing that is handed on: Nomad's token, wherever it is, and what the environment has under such names.
 * @param nomad undefined where the configuration cannot be read
 * @throws RefusedError where there is a token file and it cannot be read: then what it holds could stay
 */
export function knownSecrets(
  nomad: Pick<NomadConfig, 'token' | 'tokenFile'> | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): string[] {
  const ofFile = nomad?.tokenFile === undefined ? undefined : readTextIfThere(nomad.tokenFile, MOST_BYTES)?.trim();
  const ofEnvironment = Object.entries(environment).flatMap(([name, value]) =>
    NAME_OF_SECRET.test(name) && value !== undefined && !value.startsWith('/') ? [value] : [],
  );
  return [nomad?.token, ofFile, ...ofEnvironment].filter((secret) => secret !== undefined && secret !== '') as string[];
}
