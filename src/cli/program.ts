import { Command, CommanderError } from 'commander';
import { messageOf } from '../errors.ts';
import { CommandError } from './command-error.ts';
import { EXIT } from './exit-code.ts';

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
  const program = new Command('nomad-rootless')
    .description("runs Nomad's Podman tasks in their users' rootless Podman")
    .version(version)
    .exitOverride()
    .configureOutput({ writeErr: (text) => report(text.trimEnd()) });
  for (const command of commands) program.addCommand(command.copyInheritedSettings(program));
  try {
    await program.parseAsync(argv);
    return Number(process.exitCode ?? EXIT.ok);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    report(`nomad-rootless: ${messageOf(error)}`);
    return error instanceof CommandError ? error.exitCode : EXIT.error;
  }
}
