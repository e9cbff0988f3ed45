import { allCommands } from './cli/commands.ts';
import { runProgram } from './cli/program.ts';
import { VERSION } from './version.ts';

/** Not awaited here: the built program is CommonJS, which has no await at its top level. */
export const ended = runProgram(allCommands(), VERSION, process.argv, (message) => console.error(message)).then(
  (code) => {
    process.exitCode = code;
  },
);
