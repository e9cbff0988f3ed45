import { styleText } from 'node:util';

/** Where a command writes to. Tests hand in one of their own. */
export interface Terminal {
  /** Writes to standard output, as it is. */
  write(text: string): void;
  /** How many rows it has now; undefined where it is no terminal. */
  readonly rows: number | undefined;
  /** Colours a text where standard output shows colours. */
  paint(style: Style, text: string): string;
}

/** The colours in use, by util.styleText's names. */
export type Style = 'green' | 'yellow' | 'red' | 'bold';

/** Standard output; colours only on a terminal and without NO_COLOR (both judged by util.styleText). */
export const processTerminal: Terminal = {
  write: (text) => process.stdout.write(text),
  get rows() {
    return process.stdout.isTTY ? process.stdout.rows : undefined;
  },
  paint: (style, text) => styleText(style, text, { stream: process.stdout }),
};
