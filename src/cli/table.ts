import { printable } from '../printable.ts';

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

function widthOf(text: string): number {
  return [...text].length;
}
