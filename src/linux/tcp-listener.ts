import { readFileSync } from 'node:fs';
import { ParseError } from '../errors.ts';

const LISTEN = '0A';

/**
 * The uids of who listens on a TCP port of this host, on any address, from the kernel's tables (proc_net(5): local
 * address in hex, state, and uid are the 2nd, 4th and 8th column). Empty where nobody does.
 * @throws ParseError, or an Error of node:fs
 */
export function listenerUids(port: number): number[] {
  return [
    ...new Set(['tcp', 'tcp6'].flatMap((table) => parseListeners(readFileSync(`/proc/net/${table}`, 'utf8'), port))),
  ];
}

/** Reads one of the tables. @throws ParseError */
export function parseListeners(text: string, port: number): number[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return text
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local, , state]) => state === LISTEN && local?.endsWith(suffix))
    .map((columns) => {
      const uid = Number(columns[7]);
      if (!Number.isSafeInteger(uid)) throw new ParseError('/proc/net/tcp', 'a uid in column 8', columns.join(' '));
      return uid;
    });
}
