import type { CommandEntry, CommandTree, ValueKind } from '../command-tree.ts';

/** What fish's `complete` does for a value. */
const VALUES: Readonly<Record<ValueKind, string>> = {
  file: '--require-parameter --force-files',
  user: "--require-parameter --no-files --arguments '(__fish_complete_users)'",
  allocation: '--require-parameter --no-files',
};

/** A completion for fish. */
export function fishCompletion({ program, commands }: CommandTree): string {
  const complete = `complete --command ${program.name}`;
  const names = commands.map(
    ({ name, description }) =>
      `${complete} --condition __fish_use_subcommand --arguments ${name} --description ${quoted(description)}`,
  );
  const ofCommands = commands.flatMap((command) => {
    const condition = `--condition '__fish_seen_subcommand_from ${command.name}'`;
    const users = command.arguments.some(({ value }) => value === 'user');
    const values = users ? [`${complete} ${condition} --arguments '(__fish_complete_users)'`] : [];
    return [...optionsOf(command, `${complete} ${condition}`), ...values];
  });
  return [
    '# fish completion of nomad-rootless, made of its commands',
    `${complete} --no-files`,
    ...names,
    ...optionsOf(program, `${complete} --condition __fish_use_subcommand`),
    ...ofCommands,
    '',
  ].join('\n');
}

function optionsOf({ options }: CommandEntry, complete: string): string[] {
  return options.map(
    ({ name, description, value }) =>
      `${complete} --long-option ${name.slice(2)}${value ? ` ${VALUES[value]}` : ''} --description ${quoted(description)}`,
  );
}

/** Single quotes of fish know only these two escapes. */
function quoted(text: string): string {
  return `'${text.replaceAll(/[\\']/g, '\\$&')}'`;
}
