import type { LoadedConfig } from '../config/load-config.ts';
import { directoryIsThere } from '../linux/directory.ts';
import { type Check, complaintsOf, makeChecks } from '../model/checks/check.ts';
import { CONFIG_CHECKS } from '../model/checks/host.ts';
import { ACCOUNT_CHECKS } from '../model/checks/user.ts';
import { factsOf } from './config.ts';
import { accountFacts } from './users.ts';

/** What is wrong with a configuration, in words. */
interface Complaints {
  /** With these users no task runs. */
  readonly problems: readonly string[];
  /** What may be so because the configuration is for another host, or Nomad has not started yet. */
  readonly warnings: readonly string[];
}

/** Of the checks, those that go by the configuration and the accounts of this host alone. */
export async function complaintsAbout(loaded: LoadedConfig): Promise<Complaints> {
  const { config } = loaded;
  const accounts = await accountFacts(new Set(config.users.keys()), config.minUid);
  const isElsewhere = ({ account }: (typeof accounts)[number]) => 'value' in account && account.value === undefined;
  const [missing, here] = [accounts.filter(isElsewhere), accounts.filter((account) => !isElsewhere(account))];
  const ofUsers = (some: typeof accounts) =>
    some.flatMap((account) => makeChecks(ACCOUNT_CHECKS, account, account.name));
  const checks = ofUsers(here);
  const { dataDir, allocDir } = config.nomad;
  const directories = Object.entries({ 'nomad.data_dir': dataDir, 'nomad.alloc_dir': allocDir });
  return {
    problems: complaintsOf(checks.filter(isFailed)),
    warnings: [
      ...complaintsOf(makeChecks(CONFIG_CHECKS, { ...factsOf(loaded), asked: undefined })),
      ...complaintsOf(checks.filter((check) => !isFailed(check))),
      ...complaintsOf(ofUsers(missing)),
      ...directories.flatMap(([key, path]) =>
        path === undefined || directoryIsThere(path) ? [] : [`${key}: ${path} is no directory of this host`],
      ),
    ],
  };
}

function isFailed({ verdict }: Check): boolean {
  return verdict === 'failed';
}
