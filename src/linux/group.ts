import { NotYetError, RefusedError } from '../errors.ts';
import { GETENT, NOT_FOUND } from './getent.ts';
import { runTool } from './run-tool.ts';

/** A group of a directory service may have thousands of members, group(5). */
const MOST_BYTES = 4 * 1024 * 1024;

/**
 * The gid of a group of the operator's choice, through NSS, as lookUpAccount has users looked up.
 * @param group its name, or a gid, which need not be known to anybody
 * @throws RefusedError `unknown_group`; NotYetError `name_service` where it did not answer
 */
export async function lookUpGroup(group: string, signal: AbortSignal): Promise<number> {
  if (/^\d+$/.test(group)) return Number(group);
  const { stdout, error } = await runTool(GETENT, ['group', '--', group], { signal, mostBytes: MOST_BYTES });
  const gid = Number(stdout.split(':')[2] ?? Number.NaN);
  if (!error && Number.isInteger(gid)) return gid;
  if (error?.code === NOT_FOUND) throw new RefusedError('unknown_group', `there is no group ${group}`);
  throw new NotYetError('name_service', `getent group ${group}`, error);
}
