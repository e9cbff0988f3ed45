import type { NomadClientOptions, TlsOptions } from '@hashicorp/nomad-client-ts';
import type { NomadConfig } from '../config/config.ts';
import { NotYetError, RefusedError } from '../errors.ts';
import { readTextIfThere } from '../linux/read-file.ts';
import { listenerUids } from '../linux/tcp-listener.ts';

/** Tokens are UUIDs or JWTs, certificates PEM, a CA bundle the longest of them: none comes near this size. In bytes. */
const MAX_FILE = 1024 * 1024;
/** Creates are held for a file that is about to be written: looking costs nothing. */
const FILE_RETRY_MS = 2000;

/**
 * How to reach Nomad, from the configuration. Files are read anew for each request: Nomad renews a workload identity in
 * the token's file, and certificates are replaced before they expire. One that cannot be read is a NotYetError: it
 * may be about to be written.
 */
export function nomadConnection(config: NomadConfig, listenersOn = listenerUids): NomadClientOptions {
  const { address } = config;
  const port = unprotectedPort(address);
  return {
    address,
    admit: port === undefined ? undefined : () => admit(port, listenersOn(port)),
    // Read each time: the configuration can change while the agent runs.
    token: () => tokenOf(config),
    tls: () => notYet(() => readTls(config)),
  };
}

function readTls({ caCert, clientCert, clientKey, tlsServerName: serverName, skipVerify }: NomadConfig): TlsOptions {
  const read = (path: string | undefined) => (path === undefined ? undefined : readRequired(path));
  return { ca: read(caCert), cert: read(clientCert), key: read(clientKey), serverName, skipVerify };
}

function tokenOf({ token, tokenFile }: NomadConfig): string | undefined {
  return tokenFile === undefined ? token : notYet(() => readToken(tokenFile));
}

function readToken(path: string): string {
  const token = readRequired(path).trim();
  // Nomad would take a request without a token for an anonymous one, and answer as if there was nothing here.
  if (token === '') throw new RefusedError('file_empty', `${path}: expected a token, got an empty file`);
  return token;
}

function readRequired(path: string): string {
  const text = readTextIfThere(path, MAX_FILE);
  if (text === undefined)
    throw new RefusedError('file_missing', `${path}: expected a file, got nothing; see nomad.* in the configuration`);
  return text;
}

function notYet<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof RefusedError
      ? new NotYetError(error.code, error.message, error.cause, FILE_RETRY_MS)
      : error;
  }
}

/** The port of an address on this host over plain http: nothing but who holds the port says that it is Nomad. */
function unprotectedPort(address: string): number | undefined {
  const url = URL.parse(address);
  if (url?.protocol !== 'http:' || !['127.0.0.1', 'localhost', '[::1]'].includes(url.hostname)) return undefined;
  return Number(url.port || '80');
}

/**
 * While Nomad does not run any local user can take its port, and would say whose allocations are whose. A Nomad client
 * runs as root: nobody else is believed, or is sent anything, the token least of all. Looking at who listens takes the
 * kernel a millisecond, so it is done for each connection, not for each request.
 */
function admit(port: number, uids: readonly number[]): void {
  if (uids.length === 0)
    throw new NotYetError(
      'nomad_unreachable',
      `nothing listens on port ${port} of nomad.address; start Nomad, or correct nomad.address`,
    );
  const other = uids.find((uid) => uid !== 0);
  if (other === undefined) return;
  const message = `uid ${other} listens on port ${port} of nomad.address, expected root; if that is intended, use a unix:// or https:// address`;
  throw new NotYetError('nomad_impostor', message);
}
