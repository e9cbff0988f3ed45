import { statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../src/cli/exit-code.ts';
import { lockStateDir } from '../../src/linux/state-lock.ts';
import type { AgentProcess } from '../support/agent.ts';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { mountsBelow } from '../support/leftovers.ts';
import type { AllocationUnderTest } from '../support/nomad-under-test.ts';
import { requires } from '../support/requires.ts';
import { type StandInNomad, startStandInNomad } from '../support/stand-in-nomad.ts';
import { jobOf, runJob, shell } from './cases.ts';

requires(
  'root',
  'sandbox',
  'podman',
)('agent --once', () => {
  let environment: Environment<StandInNomad>;
  let nomad: StandInNomad;
  let agent: AgentProcess;

  beforeAll(async () => {
    environment = await startEnvironment({ startNomad: startStandInNomad, isManaged: true });
    ({ nomad, agent } = environment);
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  /** One that runs, and then has no agent until the test has ended. */
  async function runningWithoutAgent(): Promise<AllocationUnderTest> {
    const running = await runJob(nomad, jobOf('alice', 'runs', shell('t', 'alice', 'exec sleep 1000')));
    await running.waitFor('running');
    await agent.stop();
    onTestFinished(() => agent.start());
    return running;
  }

  test('leaves nothing to do where all is done, and takes away what has ended meanwhile', async () => {
    const { id } = await runningWithoutAgent();
    const gate = statSync(agent.gateSocket('alice')).ino;
    const { code, stdout } = await agent.command(['agent', '--once']);
    expect(stdout).toBe('1 of 1 allocations have what they should have; 0 left, 0 refused\n');
    expect(code).toBe(EXIT.ok);
    const shown = () =>
      mountsBelow(join(nomad.allocDir, id)).filter(({ mountPoint }) => mountPoint.endsWith('/t/local'));
    expect(shown()).not.toEqual([]);
    const known = nomad.allocation(id);
    const state = known?.TaskStates?.['t'];
    if (!state) throw new Error('Nomad has forgotten it');
    const t = { ...state, State: 'dead' as const };
    nomad.announce(
      { ...known, ClientStatus: 'complete', DesiredStatus: 'stop', TaskStates: { t } },
      'AllocationUpdated',
    );
    const { code: after, stdout: said } = await agent.command(['agent', '--once']);
    expect({ after, said }).toEqual({
      after: EXIT.ok,
      said: '0 of 0 allocations have what they should have; 0 left, 0 refused\n',
    });
    expect(shown()).toEqual([]);
    expect(statSync(agent.gateSocket('alice')).ino).toBe(gate);
  });

  test('says what keeps an allocation from what it should have, and what is still to be done', async () => {
    await runningWithoutAgent();
    const bob = environment.sandbox.user('bob');
    await bob.stopService();
    process.kill(bob.pausePid() ?? Number.NaN);
    onTestFinished(() => bob.startService());
    const stranded = nomad.runJob(jobOf('bob', 'stranded', shell('t', 'bob', 'exec sleep 1000')));
    const foreign = nomad.runJob(jobOf('daemon', 'foreign', shell('t', 'bob', 'exec sleep 1000')));
    const { code, stdout } = await agent.command(['agent', '--once']);
    expect(stdout).toMatch(/^1 of 3 allocations have what they should have; 1 left, 1 refused$/m);
    expect(stdout).toMatch(new RegExp(`^${stranded.id} \\(stranded\\): waiting: bob's Podman does not run`, 'm'));
    expect(stdout).toMatch(new RegExp(`^${foreign.id} \\(foreign\\): refused: .*daemon`, 'm'));
    expect(code).toBe(EXIT.leftToDo);
  });

  test('does nothing beside a running agent, or beside another process that has the state dir', async () => {
    const beside = await agent.command(['agent', '--once']);
    expect(beside).toMatchObject({ code: EXIT.error, stderr: expect.stringContaining('the agent is running') });
    await agent.stop();
    onTestFinished(() => agent.start());
    const lock = lockStateDir(join(environment.sandbox.directory, 'agent/state'));
    onTestFinished(() => lock[Symbol.dispose]());
    const locked = await agent.command(['agent', '--once']);
    expect(locked).toMatchObject({ code: EXIT.error, stderr: expect.stringMatching(/is in use by process \d+/) });
  });
});
