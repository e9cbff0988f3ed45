import { messageOf } from '../../errors.ts';
import type { Handle } from '../../linux/handle.ts';
import { SyscallError } from '../../linux/libc.ts';
import { NETLINK } from '../../linux/net/netlink-protocol.ts';
import { NetlinkSocket } from '../../linux/net/netlink-socket.ts';
import { keysOfRuleset, readRuleset, writeRuleset } from '../../linux/net/nf-tables.ts';
import { keyOfXTable, readXTables, writeXTables } from '../../linux/net/x-tables.ts';
import { differenceOf } from './difference.ts';
import type { Network } from './network.ts';

/** Makes the nftables ruleset of a network namespace be that of a network. @returns what cannot be carried, in words */
export async function carryRuleset({ ruleset }: Network, to: Handle): Promise<string[]> {
  if (ruleset.length === 0) return [];
  using filter = NetlinkSocket.open(to, NETLINK.NETFILTER);
  const wanted = keysOfRuleset(ruleset);
  const differing = async () => {
    const { missing, extra } = differenceOf(wanted, keysOfRuleset(await readRuleset(filter)), (key) => key);
    return [...missing, ...extra];
  };
  if ((await differing()).length === 0) return [];
  try {
    await writeRuleset(filter, ruleset);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    return [`the kernel refuses a copy of it: ${messageOf(error)}`];
  }
  return (await differing()).map((key) => `${key.split(':')[0]} differs after the migration`);
}

/** Makes the tables of iptables-legacy of a network namespace be those of a network. @returns as carryRuleset */
export async function carryXTables({ xTables }: Network, to: Handle): Promise<string[]> {
  if (xTables.length === 0) return [];
  try {
    await writeXTables(to, xTables);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    return [`the kernel refuses a copy of it: ${messageOf(error)}`];
  }
  const { missing } = differenceOf(xTables, await readXTables(to), keyOfXTable);
  return missing.map(({ name }) => `iptables-legacy table ${name} differs after the migration`);
}
