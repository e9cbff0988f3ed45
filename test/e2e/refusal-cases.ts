import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import type { Explanation } from '../../src/model/explanation.ts';
import type { AgentStatus } from '../../src/model/status.ts';
import type { Environment } from '../support/environment.ts';
import type { NomadUnderTest } from '../support/nomad-under-test.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { driverFailure, jobOf, runJob, shell } from './cases.ts';

const STAYS = 'echo up; exec sleep 1000';

/** The configuration that the cases need. */
export const POLICY = [{ namespace: 'default', jobs: 'allowed*', users: ['alice', 'bob'] }];

/** What is refused, when, and where people read it. */
export function refusalCases(environment: () => Environment<NomadUnderTest>): void {
  async function registryOfTest(): Promise<Registry> {
    const registry = await startRegistry();
    onTestFinished(() => registry[Symbol.asyncDispose]());
    return registry;
  }

  async function asked<T>(...args: string[]): Promise<T> {
    const { stdout } = await environment().agent.command([...args, '--json']);
    return JSON.parse(stdout);
  }

  function run(user: string, id: string, image: string) {
    const task = shell('t', user, STAYS, { image, tlsVerify: false });
    return runJob(environment().nomad, jobOf(user, id, task));
  }

  test('a task that the policy refuses has no image pulled, and its author and the operator read why', async () => {
    const { agent } = environment();
    const registry = await registryOfTest();
    const refused = await run('alice', 'refused', registry.reference('unwanted'));
    const reason = 'the policy of this node does not let job refused of namespace default run as alice';
    expect(await driverFailure(refused, 't')).toContain(reason);
    expect(registry.pulled).toEqual([]);
    const { refusals } = await asked<AgentStatus>('status');
    expect(refusals[0]).toMatchObject({ user: 'alice', allocationId: refused.id, task: 't', code: 'not_in_policy' });
    expect((await agent.command(['status'])).stdout).toMatch(
      /Last refused at the gates:\n.*\n.*not_in_policy.*job refused/,
    );
  });

  test('beside one that is refused a task that may run pulls its image', async () => {
    const registry = await registryOfTest();
    const refused = await run('alice', 'refused-too', registry.reference('unwanted'));
    const allowed = await run('alice', 'allowed', registry.reference('wanted'));
    await allowed.waitForLog('t', 'up');
    expect(await driverFailure(refused, 't')).toContain('the policy of this node');
    expect(registry.pulled).toContain('wanted');
  });

  test("explain shows what the gate has turned away: a socket that is another user's", async () => {
    const { nomad, agent } = environment();
    const registry = await registryOfTest();
    const task = shell('t', 'bob', STAYS, { image: registry.reference('unwanted'), tlsVerify: false });
    const allocation = await runJob(nomad, jobOf('alice', 'allowed-elsewhere', task));
    expect(await driverFailure(allocation, 't')).toContain('but its socket is another user');
    expect(registry.pulled).toEqual([]);
    const { turnedAway } = await asked<Explanation>('explain', allocation.id);
    expect(turnedAway).toMatchObject([{ user: 'bob', task: 't', code: 'wrong_socket' }]);
    const { stdout } = await agent.command(['explain', allocation.id]);
    expect(stdout).toMatch(/^Refused at the gate \S+ ago, task t: .*its socket is another user's/m);
  });

  test("a user whose subordinate ids are somebody else's too is refused, with who and which", async () => {
    const { sandbox, agent } = environment();
    const registry = await registryOfTest();
    const before = readFileSync('/etc/subuid', 'utf8');
    const { subordinateStart: start } = sandbox.user('alice');
    onTestFinished(async () => {
      writeFileSync('/etc/subuid', before);
      await agent.stop();
      await agent.start();
    });
    appendFileSync('/etc/subuid', `mallory:${start}:10\n`);
    await agent.stop();
    await agent.start();
    const refused = await run('alice', 'allowed-but-shared', registry.reference('unwanted'));
    const why = `subordinate uids ${start}-${start + 65_535} of user alice overlap those of mallory, ${start}-${start + 9}`;
    expect(await driverFailure(refused, 't')).toContain(why);
    expect(registry.pulled).toEqual([]);
    expect((await agent.readyz()).text).toContain(`warning: user alice: subordinate ids: ${why}`);
    const other = await run('bob', 'allowed-beside', registry.reference('wanted'));
    await other.waitForLog('t', 'up');
  });
}
