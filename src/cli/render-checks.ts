import { type Check, type Verdict, worstOf } from '../model/checks/check.ts';
import { printable } from '../printable.ts';
import { renderTable } from './table.ts';
import type { Style, Terminal } from './terminal.ts';

const STYLES: Readonly<Record<Verdict, Style>> = { ok: 'green', warning: 'yellow', failed: 'red' };
const HEADER = ['', 'USER', 'CHECK', 'FOUND'];

/** The checks as text: a table, the commands that mend what is wrong, and how it stands in one line. */
export function renderChecks(checks: readonly Check[], terminal: Pick<Terminal, 'paint'>): string {
  const rows = checks.map(({ verdict, user = '', title, found }) => [
    { text: verdict, paint: (text: string) => terminal.paint(STYLES[verdict], text) },
    user,
    title,
    found,
  ]);
  const remedies = [...new Set(checks.flatMap(({ remedy }) => (remedy === undefined ? [] : [remedy])))];
  const list = remedies.map((remedy) => `  ${printable(remedy)}\n`).join('');
  const toRun = remedies.length === 0 ? '' : `\nTo fix it, as root:\n${list}`;
  return `${renderTable(HEADER, rows)}${toRun}\n${inOneLine(checks, terminal)}\n`;
}

function inOneLine(checks: readonly Check[], terminal: Pick<Terminal, 'paint'>): string {
  const count = (verdict: Verdict) => checks.filter((check) => check.verdict === verdict).length;
  const worst = worstOf(checks);
  if (worst === 'ok') return terminal.paint('green', `All ${checks.length} checks passed.`);
  return terminal.paint(STYLES[worst], `${count('failed')} failed, ${count('warning')} warnings, ${count('ok')} ok.`);
}
