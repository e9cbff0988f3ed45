import type { CommandEntry, CommandTree, ValueKind } from '../command-tree.ts';

/** How Bash finds what a value can be. An allocation's id is known to the agent alone, which only root may ask. */
const VALUES: Readonly<Record<ValueKind, string>> = {
  file: 'compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word")',
  user: 'mapfile -t COMPREPLY < <(compgen -u -- "$word")',
  allocation: ':',
};

/** A completion for Bash, that needs nothing of the package bash-completion but to be found by it. */
export function bashCompletion({ program, commands }: CommandTree): string {
  return `# bash completion of ${program.name}, made of its commands
_nomad_rootless() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} command='' at
  COMPREPLY=()
  for ((at = 1; at < COMP_CWORD; at++)); do
    case \${COMP_WORDS[at]} in
      -*) ;;
      *) command=\${COMP_WORDS[at]}; break ;;
    esac
  done
  case $command in
    '')
      mapfile -t COMPREPLY < <(compgen -W '${[...commands, ...program.options].map(({ name }) => name).join(' ')}' -- "$word")
      ;;
${commands.map(branch).join('\n')}
  esac
}
complete -F _nomad_rootless ${program.name}
`;
}

function branch({ name, options, arguments: [argument] }: CommandEntry): string {
  const withValue = options.flatMap(({ name: option, value }) => (value ? [`${option}) ${VALUES[value]} ;;`] : []));
  const words = `mapfile -t COMPREPLY < <(compgen -W '${options.map((option) => option.name).join(' ')}' -- "$word")`;
  const rest =
    argument === undefined ? words : `if [[ $word == -* ]]; then ${words}; else ${VALUES[argument.value]}; fi`;
  return `    ${name})
      case $before in
${[...withValue, `*) ${rest} ;;`].map((line) => `        ${line}`).join('\n')}
      esac
      ;;`;
}
