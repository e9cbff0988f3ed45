import type { ArgumentEntry, CommandEntry, CommandTree } from './command-tree.ts';

/** What the pages are made of beside commander's tree. */
export interface ManualSource {
  /** The configuration file that explains every key. */
  readonly configExample: string;
  /** Day of the pages, as 2026-11-27. */
  readonly date: string;
}

/** The manual pages, in the macros of man(7), by their file names. */
export function manualPages(tree: CommandTree, source: ManualSource): ReadonlyMap<string, string> {
  const { program, commands } = tree;
  const pages = commands.map((command) => [pageOf(command), commandPage(command, tree, source)] as const);
  return new Map([
    [`${program.name}.8`, programPage(tree, source)],
    ...pages.map(([name, text]) => [`${name}.8`, text] as const),
    [`${program.name}.5`, configPage(tree, source)],
  ]);
}

function pageOf({ name }: CommandEntry): string {
  return `nomad-rootless-${name}`;
}

function programPage(tree: CommandTree, source: ManualSource): string {
  const { program, commands } = tree;
  return lines(
    header(program.name, 8, tree, source),
    ['.SH NAME', escaped(`${program.name} - ${program.description}`)],
    ['.SH SYNOPSIS', `.B ${escaped(program.name)}`, '.I command', '[options]'],
    ['.SH COMMANDS'],
    ...commands.map((command) => ['.TP', `.BR ${escaped(pageOf(command))} (8)`, escaped(command.description)]),
    optionsOf(program),
    ['.SH FILES'],
    ['.TP', '.I /etc/nomad-rootless/config.yaml', 'The configuration:', '.BR nomad-rootless (5)'],
    [
      '.TP',
      '.I /usr/share/doc/nomad-rootless',
      'What it is and how it is set up (README.md), how it is operated (docs/operations.md), what each error means (docs/troubleshooting.md), and what to deploy beside it.',
    ],
    seeAlso(['nomad-rootless(5)', ...commands.map((command) => `${pageOf(command)}(8)`)]),
  );
}

function commandPage(command: CommandEntry, tree: CommandTree, source: ManualSource): string {
  const name = pageOf(command);
  const { arguments: all, epilogue } = command;
  return lines(
    header(name, 8, tree, source),
    ['.SH NAME', escaped(`${name} - ${command.description}`)],
    ['.SH SYNOPSIS', `.B ${escaped(`${tree.program.name} ${command.name}`)}`, '[options]', ...all.map(synopsis)],
    all.length === 0 ? [] : ['.SH ARGUMENTS'],
    ...all.map((argument) => ['.TP', `.I ${escaped(argument.name)}`, escaped(argument.description)]),
    optionsOf(command),
    epilogue === '' ? [] : ['.SH EXIT STATUS', '.nf', ...epilogue.split('\n').slice(1).map(escaped), '.fi'],
    seeAlso(['nomad-rootless(8)', 'nomad-rootless(5)']),
  );
}

function configPage(tree: CommandTree, source: ManualSource): string {
  return lines(
    header(tree.program.name, 5, tree, source),
    ['.SH NAME', escaped('nomad-rootless - its configuration file, /etc/nomad-rootless/config.yaml')],
    ['.SH DESCRIPTION'],
    ['YAML. A file with nothing in it, or none at all, has every key at its default. This one explains them all:'],
    ['.PP', '.nf', ...source.configExample.trimEnd().split('\n').map(escaped), '.fi'],
    seeAlso(['nomad-rootless(8)', 'nomad-rootless-check-config(8)', 'nomad-rootless-setup(8)']),
  );
}

function header(title: string, section: number, { version }: CommandTree, { date }: ManualSource): string[] {
  return [`.TH ${escaped(title.toUpperCase())} ${section} ${date} "nomad-rootless ${version}"`];
}

function synopsis({ name, isRequired, isVariadic }: ArgumentEntry): string {
  const word = `\\fI${escaped(name)}\\fR${isVariadic ? ' ...' : ''}`;
  return isRequired ? word : `[${word}]`;
}

function optionsOf({ options }: CommandEntry): string[] {
  const entries = options.flatMap(({ flags, description }) => ['.TP', `.B ${escaped(flags)}`, escaped(description)]);
  return ['.SH OPTIONS', ...entries];
}

/** @param pages as `name(section)` */
function seeAlso(pages: readonly string[]): string[] {
  const references = pages.map((page, index) => {
    const [, name = '', section = ''] = /^(.*)(\(\d\))$/.exec(page) ?? [];
    return `.BR ${escaped(name)} ${section}${index === pages.length - 1 ? '' : ','}`;
  });
  return ['.SH SEE ALSO', ...references];
}

function lines(...parts: readonly (readonly string[])[]): string {
  return `${parts.flat().join('\n')}\n`;
}

/** Text that means itself: groff_char(7), and groff(7) of a dot or quote that begins a line. */
function escaped(text: string): string {
  const characters = text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replaceAll('…', '...');
  return /^[.']/.test(characters) ? `\\&${characters}` : characters;
}
