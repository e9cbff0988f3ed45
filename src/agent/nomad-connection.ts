import type { NomadClientOptions } from '@hashicorp/nomad-client-ts';
import type { NomadConfig } from '../config/config.ts';
import { RefusedError } from '../errors.ts';
import { readTextIfThere } from '../linux/read-file.ts';

/** Tokens are UUIDs or JWTs, certificates PEM: none comes near this size. In bytes. */
const MAX_FILE = 1024 * 1024;

/**
 * How to reach Nomad, from the configuration. The token file is read anew for each request: Nomad renews a workload
 * identity there.
 * @throws RefusedError where a certificate file cannot be read
 */
export function nomadConnection(config: NomadConfig): NomadClientOptions {
  const { address, token, tokenFile, caCert, clientCert, clientKey, tlsServerName, skipVerify } = config;
  const read = (path: string | undefined) => (path === undefined ? undefined : readRequired(path));
  return {
    address,
    token: () => (tokenFile === undefined ? token : readRequired(tokenFile)),
    tls: { ca: read(caCert), cert: read(clientCert), key: read(clientKey), serverName: tlsServerName, skipVerify },
  };
}

function readRequired(path: string): string {
  const text = readTextIfThere(path, MAX_FILE);
  if (text === undefined)
    throw new RefusedError('file_missing', `${path}: expected a file, got nothing; see nomad.* in the configuration`);
  return text;
}
