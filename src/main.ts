import { agentCommand } from './cli/agent.ts';
import { checkConfigCommand } from './cli/check-config.ts';
import { cleanupCommand } from './cli/cleanup.ts';
import { doctorCommand } from './cli/doctor.ts';
import { explainCommand } from './cli/explain.ts';
import { runProgram } from './cli/program.ts';
import { setupCommand } from './cli/setup.ts';
import { statusCommand } from './cli/status.ts';
import { VERSION } from './version.ts';

const commands = [
  agentCommand(),
  statusCommand(),
  explainCommand(),
  checkConfigCommand(),
  doctorCommand(),
  setupCommand(),
  cleanupCommand(),
];
/** Not awaited here: the built program is CommonJS, which has no await at its top level. */
export const ended = runProgram(commands, VERSION, process.argv, (message) => console.error(message)).then((code) => {
  process.exitCode = code;
});
