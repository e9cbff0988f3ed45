import { type Cell, renderTable } from '../../../src/cli/table.ts';
import { processTerminal, type Style } from '../../../src/cli/terminal.ts';
import { printable } from '../../../src/printable.ts';

const COLUMN = 8;

/** What the demo writes to standard output: what happens with the seconds since its start, headings and tables. */
export class Screen {
  /** @param time milliseconds since the epoch, for what has happened a moment ago; now unless told */
  happened(who: string, what: string, time = Date.now()): void {
    const seconds = (Math.max(0, time - performance.timeOrigin) / 1000).toFixed(1).padStart(5);
    this.#line(`${seconds} s  ${this.paint('bold', who.padEnd(COLUMN))}${printable(what)}`);
  }

  heading(text: string): void {
    this.#line(`\n${this.paint('bold', text)}`);
  }

  /** A text of one or more lines, as it is. */
  text(text: string): void {
    this.#line(text.trimEnd());
  }

  table(header: readonly string[], rows: readonly (readonly Cell[])[]): void {
    this.text(renderTable(header, rows));
  }

  paint(style: Style, text: string): string {
    return processTerminal.paint(style, text);
  }

  #line(line: string): void {
    processTerminal.write(`${line}\n`);
  }
}
