import { agentCommand } from './cli/agent.ts';
import { checkConfigCommand } from './cli/check-config.ts';
import { cleanupCommand } from './cli/cleanup.ts';
import { explainCommand } from './cli/explain.ts';
import { runProgram } from './cli/program.ts';
import { statusCommand } from './cli/status.ts';
import { VERSION } from './version.ts';

const commands = [agentCommand(), statusCommand(), explainCommand(), checkConfigCommand(), cleanupCommand()];
process.exitCode = await runProgram(commands, VERSION, process.argv, (message) => console.error(message));
