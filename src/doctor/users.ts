import { type Clock, signalAfter } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { readContainersConf } from '../gate/containers-conf.ts';
import { fileIsThere } from '../linux/read-file.ts';
import { showUnit, systemdIsThere } from '../linux/systemctl.ts';
import { listenerOf } from '../linux/unix-peer.ts';
import type { Answer } from '../model/checks/check.ts';
import type { AccountFacts, IdFacts, UserFacts, UserSystemdFacts } from '../model/checks/user.ts';
import type { SubordinateRange } from '../model/subordinate-ids.ts';
import type { PodmanUser } from '../podman/connect.ts';
import { askPodman } from '../podman/report.ts';
import { type HostUser, lookUpHostUser, lookUpSignal } from '../reconcile/host-user.ts';
import { SubordinateIds } from '../reconcile/subordinate-ids.ts';
import { answerOf } from './nomad.ts';

const SYSTEMD_MS = 5000;
/** logind makes a file for each user who lingers: loginctl(1), enable-linger. */
const LINGER = '/var/lib/systemd/linger';

/** What userFacts works with. */
interface UserQuestions {
  readonly config: Pick<Config, 'minUid' | 'users'>;
  readonly clock: Pick<Clock, 'after'>;
  /** The path of a user's Podman socket. */
  readonly socketOf: (uid: number, configured: string | undefined) => string;
}

/** AccountFacts with the whole account. */
interface KnownAccount extends AccountFacts {
  readonly account: Answer<HostUser | undefined>;
}

/**
 * What is known of each user of the configuration, and of one more who was asked for. All are asked at once, each with limits in
 * time: a user whose Podman or files hang is told of as one that does not answer.
 * @param asked the one user of whom to say something; undefined: of all of the configuration
 */
export async function userFacts(questions: UserQuestions, asked: string | undefined): Promise<UserFacts[]> {
  const { users, minUid } = questions.config;
  const known = await accountFacts(new Set([...users.keys(), ...(asked === undefined ? [] : [asked])]), minUid);
  const shown = known.filter(({ name }) => asked === undefined || name === asked);
  return Promise.all(shown.map((facts) => ofUser(facts, questions)));
}

/** What is known of the accounts of users, and of their subordinate ids beside one another. */
export async function accountFacts(names: ReadonlySet<string>, minUid: number): Promise<KnownAccount[]> {
  const found = [...names].map(async (name) => ({ name, account: await answerOf(() => lookUpHostUser(name)) }));
  const accounts = await Promise.all(found);
  const ids = await idFacts(accounts.flatMap(({ account }) => ('value' in account && account.value) || []));
  return accounts.map(({ name, account }) => ({ name, minUid, account, ids: ids.get(name) }));
}

/** In the order of the configuration, so that each remedy leaves the others as they are. */
async function idFacts(known: readonly HostUser[]): Promise<Map<string, IdFacts>> {
  const ids = new SubordinateIds();
  const promised: SubordinateRange[] = [];
  const facts = new Map<string, IdFacts>();
  for (const account of known) {
    const refreshed = await answerOf(() => ids.refresh(account, lookUpSignal()));
    if ('problem' in refreshed) {
      const problem = { code: refreshed.code, reason: refreshed.problem };
      facts.set(account.name, { problem, remedy: undefined, counts: undefined });
    }
  }
  for (const account of known.filter(({ name }) => !facts.has(name))) {
    const { problem, counts, remedy } = ids.judge(account, known, promised);
    if (remedy) promised.push(remedy.range);
    facts.set(account.name, { problem, counts, remedy });
  }
  return facts;
}

async function ofUser(facts: KnownAccount, { config, clock, socketOf }: UserQuestions): Promise<UserFacts> {
  const { name, account } = facts;
  const found = 'value' in account ? account.value : undefined;
  if (!found) {
    const nothing = { systemd: undefined, socket: undefined, listener: undefined };
    return { ...facts, ...nothing, podman: undefined, containersConf: undefined };
  }
  const socket = socketOf(found.uid, config.users.get(name)?.socket);
  const user = { ...found, name, socket };
  const [systemd, listener, containersConf] = await Promise.all([
    systemdOf(user),
    answerOf(async () => (await listenerOf(socket))?.uid),
    answerOf(() => readContainersConf(user)),
  ]);
  const isHers = 'value' in listener && listener.value === found.uid;
  const podman = isHers ? await answerOf(() => askPodman(user, clock)) : undefined;
  return { ...facts, systemd, socket, listener, podman, containersConf };
}

async function systemdOf({ name, uid }: PodmanUser): Promise<UserSystemdFacts | undefined> {
  if (!systemdIsThere()) return undefined;
  const lingers = fileIsThere(`${LINGER}/${name}`);
  const shown = await answerOf(() => showUnit(`user@${uid}.service`, ['ActiveState'], signalAfter(SYSTEMD_MS)));
  return { lingers, manager: 'value' in shown ? (shown.value.get('ActiveState') ?? 'unknown') : shown.problem };
}
