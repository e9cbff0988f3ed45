import type { Command } from 'commander';
import { agentCommand } from './agent.ts';
import { checkConfigCommand } from './check-config.ts';
import { cleanupCommand } from './cleanup.ts';
import { debugCommand } from './debug.ts';
import { doctorCommand } from './doctor.ts';
import { explainCommand } from './explain.ts';
import { setupCommand } from './setup.ts';
import { statusCommand } from './status.ts';

/** All that the program does, as its help lists it; the manual pages and the completions are made of it too. */
export function allCommands(): readonly Command[] {
  return [
    agentCommand(),
    statusCommand(),
    explainCommand(),
    checkConfigCommand(),
    doctorCommand(),
    debugCommand(),
    setupCommand(),
    cleanupCommand(),
  ];
}
