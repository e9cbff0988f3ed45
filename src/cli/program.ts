import { Command, CommanderError } from 'commander';
import { messageOf } from '../errors.ts';
import { CommandError } from './command-error.ts';
import { EXIT } from './exit-code.ts';

/** The program with its commands, as commander has it. */
export function makeProgram(commands: readonly Command[], version: string): Command {
  const program = new Command('nomad-rootless')
    .description("runs Nomad's Podman tasks in their users' rootless Podman")
    .version(version);
  for (const command of commands) program.addCommand(command);
  return program;
}

/**
 * Runs the command that the arguments name.
 * @param commands what there is
 * @param argv as process.argv: the first two are skipped
 * @returns the exit code (exit-code.ts); what went wrong has been written by `report`
 */
export async function runProgram(
  commands: readonly Command[],
  version: string,
  argv: readonly string[],
  report: (message: string) => void,
): Promise<number> {
  const program = makeProgram(commands, version);
  for (const command of [program, ...commands])
    command.exitOverride().configureOutput({ writeErr: (text) => report(text.trimEnd()) });
  try {
    await program.parseAsync(argv);
    return Number(process.exitCode ?? EXIT.ok);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    report(`nomad-rootless: ${messageOf(error)}`);
    return error instanceof CommandError ? error.exitCode : EXIT.error;
  }
}
