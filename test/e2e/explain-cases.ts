import { expect, test } from 'vitest';
import { EXIT } from '../../src/cli/exit-code.ts';
import type { Explanation } from '../../src/model/explanation.ts';
import type { Environment } from '../support/environment.ts';
import type { NomadUnderTest } from '../support/nomad-under-test.ts';
import { driverFailure, jobOf, runJob, shell } from './cases.ts';

/** The configuration that the cases need. */
export const POLICY = [
  { namespace: 'other-*', users: ['alice'] },
  { namespace: 'default', jobs: 'explained*', users: ['alice'] },
];

/** What `nomad-rootless explain` says, beside every Nomad. */
export function explainCases(environment: () => Environment<NomadUnderTest>): void {
  const explain = async (id: string): Promise<Explanation> => {
    const { stdout, stderr, code } = await environment().agent.command(['explain', '--json', id]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    return JSON.parse(stdout);
  };

  test('explain says of a task that runs which meta and which entry of the policy let it, and what was done', async () => {
    const { nomad, sandbox, agent } = environment();
    const { uid } = sandbox.user('alice');
    const task = shell('t', 'alice', 'exec sleep 1000', { meta: { podman_user: 'alice' } });
    const allocation = await runJob(nomad, jobOf('bob', 'explained', task));
    await allocation.waitFor('running');
    const explanation = await explain(allocation.id);
    expect(explanation).toMatchObject({ jobId: 'explained', verdict: 'access', state: 'ready' });
    expect(explanation.tasks).toMatchObject([
      {
        name: 't',
        meta: [
          { level: 'task', value: 'alice' },
          { level: 'job', value: 'bob' },
        ],
        policy: { entry: { place: 2, namespace: 'default', jobs: 'explained*' } },
        user: { name: 'alice', uid },
      },
    ]);
    const states = explanation.parts.map(({ kind, state }) => `${kind} ${state}`);
    expect(states.toSorted()).toEqual(['acl done', 'log_fifo done', 'view done']);
    const { stdout } = await agent.command(['explain', allocation.id.slice(0, 13)]);
    expect(stdout).toContain(`runs as alice (uid ${uid})`);
    expect(stdout).toMatch(/^acl +done$/m);
  });

  test('explain says of a task that the policy refuses the same as its job author reads', async () => {
    const { nomad, agent } = environment();
    const allocation = await runJob(nomad, jobOf('alice', 'another', shell('t', 'alice', 'exec sleep 1000')));
    const reason = 'the policy of this node does not let job another of namespace default run as alice';
    expect(await driverFailure(allocation, 't')).toContain(reason);
    const explanation = await explain(allocation.id);
    expect(explanation.tasks).toMatchObject([{ policy: {}, refusal: { code: 'not_in_policy' } }]);
    expect(explanation.tasks[0]?.policy?.entry).toBeUndefined();
    const { stdout } = await agent.command(['explain', allocation.id]);
    expect(stdout).toContain(`refused: task t: podman_user = "alice": ${reason}; ask the operator to allow it`);
  });

  test('explain says of an allocation without a podman user how to get one', async () => {
    const { nomad, agent } = environment();
    const task = { name: 't', driver: 'raw_exec', command: '/bin/sleep', args: ['1000'] };
    const allocation = await runJob(nomad, jobOf(undefined, 'unmanaged', task));
    await allocation.waitFor('running');
    const { stdout } = await agent.command(['explain', allocation.id]);
    expect(stdout).toContain('Not managed: no podman task has podman_user; add meta { podman_user = "alice" }');
  });

  test('explain says that Nomad knows no such allocation', async () => {
    const { code, stderr } = await environment().agent.command(['explain', '99999999-0000-4000-8000-000000000000']);
    expect(code).toBe(EXIT.noSuchAllocation);
    expect(stderr).toContain('Nomad knows no allocation 99999999-');
  });
}
