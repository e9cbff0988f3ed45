import { signalAfter } from '../clock.ts';
import { messageOf } from '../errors.ts';
import { showUnit, systemdIsThere, systemdVersion } from '../linux/systemctl.ts';
import { type ServiceFacts, UNIT, type UnitFacts } from '../model/checks/service.ts';

const TIMEOUT_MS = 5000;
const PROPERTIES = [
  'LoadState',
  'ActiveState',
  'UnitFileState',
  'MainPID',
  'Before',
  'FileDescriptorStoreMax',
  'NeedDaemonReload',
];

/** What systemd says of itself and of our unit. */
export async function systemdFacts(): Promise<Pick<ServiceFacts, 'systemd' | 'systemdProblem'>> {
  if (!systemdIsThere()) return { systemd: undefined, systemdProblem: undefined };
  try {
    const signal = signalAfter(TIMEOUT_MS);
    const version = await systemdVersion(signal);
    return { systemd: { version, unit: unitIn(await showUnit(UNIT, PROPERTIES, signal)) }, systemdProblem: undefined };
  } catch (error) {
    return { systemd: undefined, systemdProblem: messageOf(error) };
  }
}

function unitIn(shown: ReadonlyMap<string, string>): UnitFacts {
  const of = (property: string) => shown.get(property) ?? '';
  return {
    loadState: of('LoadState'),
    activeState: of('ActiveState'),
    unitFileState: of('UnitFileState'),
    mainPid: Number(of('MainPID')),
    before: of('Before').split(' '),
    fdStoreMax: Number(of('FileDescriptorStoreMax')),
    isStale: of('NeedDaemonReload') === 'yes',
  };
}
