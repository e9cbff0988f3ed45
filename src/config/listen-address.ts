import type { ListenAddress } from './config.ts';

const TCP = /^(?:\[([0-9A-Fa-f:.]+)\]|([^\s:[\]/]+)):(\d{1,5})$/;
const UNIX = /^unix:\/\/(\/.*)$/s;

/** Reads "host:port", "[ipv6]:port" or "unix:///path"; port 0 lets the kernel choose. undefined where the text is none of them. */
export function parseListenAddress(text: string): ListenAddress | undefined {
  const [, socket] = UNIX.exec(text) ?? [];
  if (socket !== undefined) return { socket };
  const [, ipv6, name, digits] = TCP.exec(text) ?? [];
  const host = ipv6 ?? name;
  const port = Number(digits);
  return host === undefined || port > 65535 ? undefined : { host, port };
}
