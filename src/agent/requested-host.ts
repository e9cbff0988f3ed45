import { isIP } from 'node:net';
import type { ListenAddress } from '../config/config.ts';

/** A host and a port, RFC 9110, 7.2. */
const HOST = /^(?:\[(?<literal>[^\]]*)\]|(?<name>[^:]*))(?::\d*)?$/;

/**
 * Whether a request was meant for this host: its Host names an address, localhost or the host of the configuration. Stops a page
 * of somebody else's in an operator's browser, which has a name of its own lead here (DNS rebinding) and would read the answer as
 * its own: of a name the browser says it. Does not stop programs, which say what they like, and who can connect anyway.
 * @param host the field Host; empty where there is none, which no browser does
 * @param address where it was asked: no browser reaches a unix socket, and who hands on from elsewhere has a name of its own
 */
export function isMeantForUs(host: string, address: ListenAddress): boolean {
  if ('socket' in address || host === '') return true;
  const { literal, name } = HOST.exec(host)?.groups ?? {};
  const asked = (literal ?? name)?.toLowerCase();
  if (asked === undefined) return false;
  return isIP(asked) !== 0 || asked === 'localhost' || asked === address.host.toLowerCase();
}
