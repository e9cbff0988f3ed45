import type { LoadedConfig } from '../config/load-config.ts';
import { directoryIsThere } from '../linux/directory.ts';
import { makeChecks } from '../model/checks/check.ts';
import { CONFIG_CHECKS } from '../model/checks/host.ts';
import { ACCOUNT_CHECKS } from '../model/checks/user.ts';
import { accountFacts } from './users.ts';

/** What is wrong with a configuration, in words. */
export interface Complaints {
  /** With these users no task runs. */
  readonly problems: readonly string[];
  /** What may be so because the configuration is for another host, or Nomad has not started yet. */
  readonly warnings: readonly string[];
}

/** Of the checks, those that go by the configuration and the accounts of this host alone. */
export async function complaintsAbout({ config, file }: LoadedConfig): Promise<Complaints> {
  const facts = { file, problem: undefined, unsafe: undefined, openTokenFile: undefined, asked: undefined };
  const users = makeChecks(CONFIG_CHECKS, { ...facts, users: [...config.users.keys()] });
  const accounts = await accountFacts(new Set(config.users.keys()), config.minUid);
  const isElsewhere = ({ account }: (typeof accounts)[number]) => 'value' in account && account.value === undefined;
  const [missing, here] = [accounts.filter(isElsewhere), accounts.filter((account) => !isElsewhere(account))];
  const ofUsers = (some: typeof accounts) =>
    some.flatMap((account) =>
      makeChecks(ACCOUNT_CHECKS, account)
        .filter(({ verdict }) => verdict === 'failed')
        .map(({ id, found }) => (id === 'account' ? `user ${account.name}: ${found}` : found)),
    );
  const { dataDir, allocDir } = config.nomad;
  const directories = Object.entries({ 'nomad.data_dir': dataDir, 'nomad.alloc_dir': allocDir });
  return {
    problems: ofUsers(here),
    warnings: [
      ...users.filter(({ verdict }) => verdict !== 'ok').map(({ title, found }) => `${title}: ${found}`),
      ...ofUsers(missing),
      ...directories.flatMap(([key, path]) =>
        path === undefined || directoryIsThere(path) ? [] : [`${key}: ${path} is no directory of this host`],
      ),
    ],
  };
}
