/** The style of the status page: of the colours that the browser prefers; on a phone each row of a table is a card of its own. */
export const STYLE = `
:root { color-scheme: light dark; --text: #1c1e21; --quiet: #5c6370; --line: #d9dce1; --ground: #fff; --card: #f6f7f9;
  --good: #116329; --look: #7d4e00; --bad: #b3151f; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e6ea; --quiet: #a0a7b4; --line: #343941; --ground: #14161a; --card: #1d2026;
    --good: #5fd38d; --look: #f0b849; --bad: #ff8f8f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 90rem; padding: 1rem; background: var(--ground); color: var(--text);
  font: 0.95rem/1.45 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.3rem; margin: 0; }
h2 { font-size: 1.05rem; margin: 1.6rem 0 0.4rem; }
p { margin: 0.3rem 0; }
footer, section > p { color: var(--quiet); }
footer { margin-top: 2rem; font-size: 0.85rem; }
ul { padding-left: 1.2rem; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 0.35rem 0.7rem 0.35rem 0; border-bottom: 1px solid var(--line); }
th { color: var(--quiet); font-weight: 600; white-space: nowrap; }
td { min-width: 4.8rem; }
.good { color: var(--good); }
.look { color: var(--look); }
.bad { color: var(--bad); }
@media (max-width: 60rem) {
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  table, tbody, tr, td { display: block; }
  tr { background: var(--card); border: 1px solid var(--line); border-radius: 0.5rem; margin: 0.6rem 0; padding: 0.4rem 0.8rem; }
  td { display: grid; grid-template-columns: 6.5rem 1fr; border: 0; padding: 0.12rem 0; }
  td::before { content: attr(data-label); color: var(--quiet); }
  td:empty { display: none; }
}
`;
