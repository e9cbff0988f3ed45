import type { CommandEntry, CommandTree, ValueKind } from '../command-tree.ts';

/** What _arguments of zshcompsys(1) does for a value. */
const VALUES: Readonly<Record<ValueKind, string>> = {
  file: 'file:_files',
  user: 'user:_users',
  allocation: 'allocation: ',
};

/** A completion for zsh. */
export function zshCompletion({ program, commands }: CommandTree): string {
  return `#compdef ${program.name}
# Made of the program's commands.
_nomad_rootless() {
  local -a commands=(
${commands.map(({ name, description }) => `    ${quoted(`${name}:${description}`)}`).join('\n')}
  )
  local line state
  _arguments -C ${optionsOf(program)} '1: :->command' '*:: :->argument'
  case $state in
    command) _describe command commands ;;
    argument)
      case $line[1] in
${commands.map((command) => `        ${command.name}) _arguments ${argumentsOf(command)} ;;`).join('\n')}
      esac
      ;;
  esac
}
_nomad_rootless "$@"
`;
}

function optionsOf({ options }: CommandEntry): string {
  const specs = options.map(({ name, description, value }) =>
    quoted(`${name}[${bracketed(description)}]${value ? `:${VALUES[value]}` : ''}`),
  );
  return specs.join(' ');
}

function argumentsOf(command: CommandEntry): string {
  const specs = command.arguments.map(({ value, isVariadic }) => quoted(`${isVariadic ? '*' : '1'}:${VALUES[value]}`));
  return [optionsOf(command), ...specs].join(' ');
}

function bracketed(description: string): string {
  return description.replaceAll(/[[\]:\\]/g, '\\$&');
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
