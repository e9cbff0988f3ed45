import { until } from '../until.ts';
import type { RecordedAllocation } from './recorded.ts';

/** Waits until Nomad tells of an allocation's address in its group's network. @returns the address */
export function addressOf(
  family: 'Address' | 'AddressIPv6',
  read: () => RecordedAllocation | undefined | Promise<RecordedAllocation>,
): Promise<string> {
  return until(`an allocation has its ${family}`, async () => {
    const address = (await read())?.NetworkStatus?.[family] ?? '';
    return address !== '' && address;
  });
}

/** The port of the host that leads to a port of the group's network block. @throws Error where the allocation has none so labelled */
export function hostPortOf(label: string, allocation: RecordedAllocation | undefined): number {
  const ports = allocation?.AllocatedResources.Shared.Ports ?? [];
  const port = ports.find(({ Label }) => Label === label);
  if (port) return port.Value;
  throw new Error(`expected a port ${label}, got ${ports.map(({ Label }) => Label).join(', ') || 'none'}`);
}
