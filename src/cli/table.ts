/** A cell: a plain text, or one with a function that colours it after it was padded. */
export type Cell = string | { readonly text: string; readonly paint: (text: string) => string };

/** Rows under a header, columns as wide as their widest cell, two spaces between; ends with a newline. Empty for no header. */
export function renderTable(header: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const table = [header, ...rows].map((row) => header.map((_, column) => cellOf(row[column])));
  const widths = header.map((_, column) => Math.max(...table.map((row) => widthOf(row[column]?.text ?? ''))));
  const lines = table.map((row) =>
    row
      .map(({ text, paint }, column) => paint(text) + ' '.repeat((widths[column] ?? 0) - widthOf(text)))
      .join('  ')
      .trimEnd(),
  );
  return header.length === 0 ? '' : `${lines.join('\n')}\n`;
}

function cellOf(cell: Cell | undefined) {
  const { text, paint } = typeof cell === 'object' ? cell : { text: cell ?? '', paint: (plain: string) => plain };
  return { text: printable(text), paint };
}

/**
 * The text with control characters shown as \xNN, so that it stays on its line. Stops a job author, who chooses job
 * names and causes error messages, from steering the operator's terminal by escape sequences.
 */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it is about
  return text.replace(/[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/g, (character) => {
    const code = character.charCodeAt(0);
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16)}`;
  });
}

function widthOf(text: string): number {
  return [...text].length;
}
