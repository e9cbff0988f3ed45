import { afterAll, afterEach, beforeAll } from 'vitest';
import { requires } from '../support/requires.ts';
import { InstalledAgent, UNIT } from '../support/systemd/installed-agent.ts';
import { type MachineEnvironment, startMachineEnvironment } from '../support/systemd/machine-environment.ts';
import { NOMAD_UNIT } from '../support/systemd/machine-nomad.ts';

const LOG_LINES = 60;

/**
 * Vitest's describe for cases on one machine, which boots before them. Of a case that fails the logs are shown.
 * @param install how the agent gets there
 */
export function onMachine(
  title: string,
  cases: (environment: () => MachineEnvironment) => void,
  install = InstalledAgent.install,
): void {
  requires(
    'root',
    'sandbox',
    'systemd-machine',
  )(title, () => {
    let environment: MachineEnvironment | undefined;
    beforeAll(async () => {
      environment = await startMachineEnvironment(install);
    });
    afterEach(async ({ task }) => {
      if (task.result?.state !== 'fail' || !environment) return;
      for (const unit of [UNIT, NOMAD_UNIT]) {
        const lines = (await environment.machine.journal(unit)).trimEnd().split('\n').slice(-LOG_LINES);
        console.log(`${unit} has logged:\n${lines.join('\n')}`);
      }
    });
    afterAll(() => environment?.[Symbol.asyncDispose]());
    cases(() => {
      if (!environment) throw new Error('the machine has not booted yet');
      return environment;
    });
  });
}
