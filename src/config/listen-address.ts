import type { ListenAddress } from './config.ts';

const ADDRESS = /^(?:\[([0-9A-Fa-f:.]+)\]|([^\s:[\]/]+)):(\d{1,5})$/;

/** Reads "host:port" or "[ipv6]:port"; port 0 lets the kernel choose. undefined where the text is neither. */
export function parseListenAddress(text: string): ListenAddress | undefined {
  const [, ipv6, name, digits] = ADDRESS.exec(text) ?? [];
  const host = ipv6 ?? name;
  const port = Number(digits);
  return host === undefined || port > 65535 ? undefined : { host, port };
}
