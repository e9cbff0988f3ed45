import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { NotYetError } from '../../../src/errors.ts';
import type { Refusal } from '../../../src/model/explanation.ts';
import { Accounts } from '../../../src/reconcile/accounts.ts';
import type { HostUser } from '../../../src/reconcile/host-user.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { recordingLog } from '../../support/recording-log.ts';

const MINUTE = 60_000;

function userOf(name: string, uid: number): HostUser {
  return { name, uid, gid: uid, home: `/home/${name}` };
}

/** A name service that answers when it is let to. */
class NameService {
  readonly users = new Map<string | number, HostUser | Error>();
  readonly asked: (string | number)[] = [];
  hangs = false;
  readonly #hanging: (() => void)[] = [];

  async lookUp(user: string | number): Promise<HostUser | undefined> {
    this.asked.push(user);
    if (this.hangs) await new Promise<void>((resolve) => this.#hanging.push(resolve));
    const answer = this.users.get(user);
    if (answer instanceof Error) throw answer;
    return answer;
  }

  goOn(): void {
    this.hangs = false;
    for (const resolve of this.#hanging.splice(0)) resolve();
  }

  asks(user: string | number): number {
    return this.asked.filter((one) => one === user).length;
  }
}

/** Subordinate ids of which the test says whose are none to run with. */
class Ids {
  readonly problems = new Map<string, Refusal>();
  readonly comparedWith: string[][] = [];
  changes = 0;

  readonly refresh = () => Promise.resolve();

  problemOf({ name }: HostUser, configured: readonly HostUser[]): Refusal | undefined {
    this.comparedWith.push(configured.map((one) => one.name));
    return this.problems.get(name);
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await undefined;
}

describe('the accounts', () => {
  let service: NameService;
  let ids: Ids;
  let clock: ManualClock;
  let log: ReturnType<typeof recordingLog>;
  let accounts: Accounts;

  beforeEach(() => {
    service = new NameService();
    ids = new Ids();
    clock = new ManualClock();
    log = recordingLog();
    accounts = new Accounts({ clock, log, lookUp: (user) => service.lookUp(user), subordinateIds: ids });
    onTestFinished(() => accounts.close());
  });

  async function pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 500) {
      clock.advance(500);
      await settle();
    }
  }

  /** Watches a user. @returns the uids that were told of, 0 for none */
  function watched(name: string): number[] {
    const told: number[] = [];
    accounts.watch(name, (account) => told.push(account?.uid ?? 0));
    return told;
  }

  test('are not known until the name service has answered, then known or unknown', async () => {
    service.users.set('alice', userOf('alice', 1001));
    expect(accounts.get('alice')).toMatchObject({ kind: 'pending', why: expect.stringContaining('alice') });
    expect(accounts.get('nobody-such')).toMatchObject({ kind: 'pending' });
    await settle();
    expect(accounts.get('alice')).toMatchObject({ kind: 'known', account: { uid: 1001 } });
    expect(accounts.get('nobody-such')).toEqual({ kind: 'unknown' });
  });

  test('are asked for once however often they are wanted', async () => {
    service.hangs = true;
    for (let time = 0; time < 10; time++) accounts.get('alice');
    service.goOn();
    await settle();
    for (let time = 0; time < 10; time++) accounts.get('alice');
    expect(service.asks('alice')).toBe(1);
  });

  test('that are not there cost few look-ups however often a job names them, and are found once they are made', async () => {
    for (let second = 0; second < 600; second++) {
      accounts.get('carol');
      await pass(1000);
    }
    expect(service.asks('carol')).toBeLessThan(150);
    service.users.set('carol', userOf('carol', 1003));
    await pass(10_000);
    accounts.get('carol');
    await settle();
    expect(accounts.get('carol')).toMatchObject({ kind: 'known' });
  });

  test('of users of the configuration are looked up again until they are there, and whoever watches is told', async () => {
    const told = watched('alice');
    await pass(MINUTE);
    expect(told).toEqual([]);
    expect(accounts.get('alice')).toMatchObject({ kind: 'unknown' });
    service.users.set('alice', userOf('alice', 1001));
    await pass(10_000);
    expect(told).toEqual([1001]);
    expect(accounts.get('alice')).toMatchObject({ kind: 'known' });
  });

  test('tell of another uid, and of an account that has gone', async () => {
    service.users.set('alice', userOf('alice', 1001));
    const told = watched('alice');
    await pass(MINUTE);
    service.users.set('alice', userOf('alice', 1005));
    await pass(MINUTE);
    service.users.delete('alice');
    await pass(MINUTE);
    expect(told).toEqual([1001, 1005, 0]);
    expect(accounts.get('alice')).toEqual({ kind: 'unknown' });
  });

  test('stay while a directory service is restarted, for which its users are not there', async () => {
    service.users.set('alice', userOf('alice', 1001));
    const told = watched('alice');
    await pass(35_000);
    service.users.delete('alice');
    await pass(30_000);
    const missed = service.asks('alice');
    expect(missed).toBeGreaterThan(1);
    await pass(5000);
    expect(accounts.get('alice')).toMatchObject({ kind: 'known' });
    service.users.set('alice', userOf('alice', 1001));
    await pass(5 * MINUTE);
    expect(told).toEqual([1001]);
  });

  test('stay as they were last known while the name service fails, and who never was known waits and is told why', async () => {
    service.users.set('alice', userOf('alice', 1001));
    const told = watched('alice');
    await settle();
    const away = new NotYetError('name_service', 'LDAP does not answer');
    service.users.set('alice', away).set('bob', away);
    const toldOfBob = watched('bob');
    await pass(60 * MINUTE);
    expect(accounts.get('alice')).toMatchObject({ kind: 'known', account: { uid: 1001 } });
    expect(accounts.get('bob')).toEqual({ kind: 'pending', why: 'LDAP does not answer' });
    expect([told, toldOfBob]).toEqual([[1001], []]);
    expect(log.lines.filter(({ level }) => level === 'warn')).toHaveLength(2);
  });

  test('of a user who was not asked for a while count again only when they were looked up', async () => {
    service.users.set('svc', userOf('svc', 900));
    accounts.get('svc');
    await settle();
    expect(accounts.get('svc')).toMatchObject({ kind: 'known', account: { uid: 900 } });
    await pass(5 * MINUTE);
    service.users.set('svc', userOf('svc', 901));
    expect(accounts.get('svc')).toMatchObject({ kind: 'pending' });
    await settle();
    expect(accounts.get('svc')).toMatchObject({ kind: 'known', account: { uid: 901 } });
  });

  test('of users of the configuration are found by uid without a look-up', async () => {
    service.users.set('alice', userOf('alice', 1001));
    watched('alice');
    await settle();
    expect(accounts.get(1001)).toMatchObject({ kind: 'known', account: { name: 'alice' } });
    expect(service.asks(1001)).toBe(0);
    service.users.set(1002, userOf('bob', 1002));
    accounts.get(1002);
    await settle();
    expect(accounts.get(1002)).toMatchObject({ kind: 'known', account: { name: 'bob' } });
  });

  test('of users of the configuration are looked up although look-ups of others hang', async () => {
    service.hangs = true;
    for (let number = 0; number < 100; number++) accounts.get(`made-up-${number}`);
    await settle();
    expect(service.asked.length).toBeLessThan(5);
    service.hangs = false;
    service.users.set('alice', userOf('alice', 1001));
    const told = watched('alice');
    await settle();
    expect(told).toEqual([1001]);
    service.goOn();
  });

  test('are told to who begins to watch one that is known, and not to who has ended it', async () => {
    service.users.set('alice', userOf('alice', 1001));
    watched('alice');
    await settle();
    const told = watched('alice');
    expect(told).toEqual([]);
    await settle();
    expect(told).toEqual([1001]);
    const late: unknown[] = [];
    accounts.watch('alice', (account) => late.push(account))();
    await settle();
    expect(late).toEqual([]);
  });

  test('are not looked up any more once nobody watches, or all is closed', async () => {
    const stop = accounts.watch('alice', () => undefined);
    accounts.watch('bob', () => undefined);
    await settle();
    stop();
    const before = service.asks('alice');
    await pass(MINUTE);
    expect(service.asks('alice')).toBe(before);
    accounts.close();
    const asked = service.asked.length;
    await pass(MINUTE);
    expect(service.asked).toHaveLength(asked);
  });

  test('whoever listens hears of every answer', async () => {
    let heard = 0;
    const stop = accounts.onAnswer(() => {
      heard++;
    });
    accounts.get('alice');
    await settle();
    expect(heard).toBe(1);
    stop();
    accounts.get('bob');
    await settle();
    expect(heard).toBe(1);
  });

  test('of made-up users do not fill the memory', async () => {
    watched('alice');
    for (let number = 0; number < 2000; number++) {
      accounts.get(`made-up-${number}`);
      await settle();
    }
    accounts.get('made-up-0');
    await settle();
    expect(service.asks('made-up-0')).toBe(2);
    expect(service.asks('alice')).toBe(1);
  });

  test('of made-up users do not fill the memory either while the name service hangs', async () => {
    service.hangs = true;
    for (let number = 0; number < 2000; number++) accounts.get(`made-up-${number}`);
    expect(accounts.get('one-more')).toEqual({ kind: 'pending', why: 'more than 1000 users are being looked up' });
    service.goOn();
    for (let turn = 0; turn < 100; turn++) await settle();
    expect(service.asked).toHaveLength(1000);
    accounts.get('one-more');
    await settle();
    expect(accounts.get('one-more')).toEqual({ kind: 'unknown' });
  });

  test('come with what speaks against their subordinate ids, which is told once and until it is mended', async () => {
    const overlap = { code: 'subordinate_ids_overlap', reason: "dave's ids are alice's as well" };
    service.users.set('dave', userOf('dave', 1004)).set('alice', userOf('alice', 1001));
    watched('alice');
    watched('dave');
    ids.problems.set('dave', overlap);
    await pass(5 * MINUTE);
    expect(accounts.get('dave')).toMatchObject({ kind: 'known', idProblem: overlap });
    expect(accounts.get('alice')).toMatchObject({ kind: 'known', idProblem: undefined });
    expect(log.lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
    ids.problems.clear();
    ids.changes++;
    expect(accounts.get('dave')).toMatchObject({ kind: 'known', idProblem: undefined });
  });

  test('are compared with the users of the configuration alone, whoever else a job names, and not at each look', async () => {
    service.users.set('alice', userOf('alice', 1001)).set('carol', userOf('carol', 1003));
    accounts.get('carol');
    watched('alice');
    await settle();
    const before = ids.comparedWith.length;
    for (let time = 0; time < 10; time++) for (const user of ['alice', 'carol']) accounts.get(user);
    expect(ids.comparedWith.length - before).toBeLessThanOrEqual(2);
    expect(ids.comparedWith.at(-1)).toEqual(['alice']);
  });
});
