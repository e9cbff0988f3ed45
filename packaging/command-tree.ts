import type { Argument, Command, Option } from 'commander';
import { allCommands } from '../src/cli/commands.ts';
import { makeProgram } from '../src/cli/program.ts';
import { VERSION } from '../src/version.ts';

/** What a value on the command line stands for: what a shell can complete it with. */
export type ValueKind = 'file' | 'user' | 'allocation';

/** An option as the program takes it: `--config <file>` is {name: '--config', value: 'file'}. */
export interface OptionEntry {
  readonly name: string;
  /** As help has it: with the short form and the value. */
  readonly flags: string;
  readonly value: ValueKind | undefined;
  readonly description: string;
}

/** An argument as the program takes it. */
export interface ArgumentEntry {
  readonly name: string;
  readonly value: ValueKind;
  readonly isRequired: boolean;
  readonly isVariadic: boolean;
  readonly description: string;
}

/** A command, or the program itself, as commander has it. */
export interface CommandEntry {
  readonly name: string;
  readonly description: string;
  readonly options: readonly OptionEntry[];
  readonly arguments: readonly ArgumentEntry[];
  /** What --help prints behind the options, such as the exit codes. */
  readonly epilogue: string;
}

/** The program, and its commands in the order of its help. */
export interface CommandTree {
  readonly version: string;
  readonly program: CommandEntry;
  readonly commands: readonly CommandEntry[];
}

/** By the names that the program gives to values. */
const KINDS: Readonly<Record<string, ValueKind>> = { file: 'file', name: 'user', user: 'user', alloc: 'allocation' };

/** What commander knows of the program. @throws Error where it has a value of a name that is not known here */
export function commandTree(): CommandTree {
  const program = makeProgram(allCommands(), VERSION);
  return { version: VERSION, program: entryOf(program), commands: program.commands.map(entryOf) };
}

function entryOf(command: Command): CommandEntry {
  const { options, registeredArguments } = command;
  const help = command.createHelp();
  return {
    name: command.name(),
    description: command.description(),
    options: help.visibleOptions(command).map(optionOf),
    arguments: registeredArguments.map(argumentOf),
    epilogue: options.length === 0 ? '' : epilogueOf(command),
  };
}

function optionOf({ long, flags, description }: Option): OptionEntry {
  const value = /<(\w+)>/.exec(flags)?.[1];
  if (!long) throw new Error(`${flags}: expected a long form`);
  return { name: long, flags, value: value === undefined ? undefined : kindOf(value), description };
}

function argumentOf(argument: Argument): ArgumentEntry {
  const { required: isRequired, variadic: isVariadic, description } = argument;
  return { name: argument.name(), value: kindOf(argument.name()), isRequired, isVariadic, description };
}

function kindOf(name: string): ValueKind {
  const kind = KINDS[name];
  if (kind === undefined) throw new Error(`${name}: expected one of ${Object.keys(KINDS).join(', ')}`);
  return kind;
}

/** commander gives it out only with the rest, by printing it. */
function epilogueOf(command: Command): string {
  let printed = '';
  command.configureOutput({
    writeOut: (text) => {
      printed += text;
    },
  });
  command.outputHelp();
  return printed.slice(command.helpInformation().length).trim();
}
