import { createHash } from 'node:crypto';
import { formatAge } from '../age.ts';
import type { Answer } from '../gate/answer.ts';
import type { AgentStatus, AllocationState, AllocationStatus } from '../model/status.ts';
import { Html, html } from './html.ts';
import { STYLE } from './status-page-style.ts';

const REFRESH_S = 5;
/** Rows of a table, and characters of a cell: what job authors and users can cause must not make the page long. */
const MOST_ROWS = 100;
const MOST_CHARACTERS = 300;
const SHORT_ID = 8;
/** What needs somebody comes first: of many allocations it is what is shown. */
const STATES: readonly AllocationState[] = ['failing', 'refused', 'waiting', 'preparing', 'removing', 'ready'];
const LOOKS = {
  failing: 'bad',
  refused: 'bad',
  waiting: 'look',
  preparing: 'look',
  removing: 'look',
  ready: 'good',
  down: 'bad',
  unknown: 'look',
  up: 'good',
} as const;

/** Nothing is loaded, nothing runs, nobody may put the page into one of their own; nothing of it is kept. */
const HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  'cross-origin-resource-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
};

/** Not by `html`: the policy names the hash of exactly this text. */
const STYLE_ELEMENT = new Html(`<style>${STYLE}</style>`);

/** What the page is made of. */
interface StatusPageOptions {
  /** Whether jobs, allocations and tasks may be named to whoever can connect; else they are counted. */
  readonly names: boolean;
  /** Milliseconds since the Unix epoch, for ages. */
  readonly now: number;
  /** A text as it may be told: ToldTexts. */
  readonly tell: (text: string) => string;
}

/** How the page says a time, and what others have put into words. */
interface Words {
  readonly ago: (at: number) => string;
  readonly tell: (text: string) => string;
}

/** The status as a page for a browser: it needs no script, and brings itself up to date. Its length has a bound. */
export function statusPage(status: AgentStatus, options: StatusPageOptions): Answer {
  const { version, nodeId, nomad, ready, reasons, warnings } = status;
  const ago = (at: number) => formatAge(options.now - at);
  const { tell } = options;
  const words = { ago, tell };
  const listed = nomad.lastListing === undefined ? 'never listed' : `last listed ${ago(nomad.lastListing)} ago`;
  const readiness = ready ? html`<strong class="good">ready</strong>` : html`<strong class="bad">not ready</strong>`;
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="refresh" content="${String(REFRESH_S)}">
<title>${ready ? '' : 'not ready: '}nomad-rootless</title>
${STYLE_ELEMENT}
</head>
<body>
<header>
<h1>nomad-rootless</h1>
<p>${readiness} · version ${version} · up ${ago(status.startedAt)}</p>
<p>Nomad: ${nomad.connected ? html`<span class="good">connected</span>` : html`<span class="bad">not connected</span>`}, ${listed} · node ${cut(nodeId) || 'unknown'}</p>
</header>
<main>
${list(
  'bad',
  shown(reasons).map((reason) => `Not ready: ${tell(reason)}`),
  reasons.length,
)}${list('look', shown(warnings).map(tell), warnings.length)}${usersSection(status, words)}${options.names ? namedSections(status, options.now, words) : countedSections(status, ago)}</main>
<footer><p>Brings itself up to date every ${String(REFRESH_S)} s. <code>nomad-rootless status</code> and <code>explain</code> on this node say more.</p></footer>
</body>
</html>
`;
  return { status: 200, headers: HEADERS, body: page.markup };
}

function usersSection({ users }: AgentStatus, { ago, tell }: Words): Html {
  const rows = shown(users).map(({ name, uid, gate, podman, version, since, problem }) => [
    name,
    uid === undefined ? 'none' : String(uid),
    gate ?? 'none',
    look(podman),
    version ?? '',
    ago(since),
    tell(problem ?? ''),
  ]);
  const header = ['User', 'Uid', 'Gate', 'Podman', 'Version', 'Since', 'Problem'];
  return section('Users', header, rows, users.length, 'There are no gates.');
}

function namedSections({ allocations, held, refusals, ghosts }: AgentStatus, now: number, { ago, tell }: Words): Html {
  const id = (whole = '') => whole.slice(0, SHORT_ID);
  return html`${section(
    'Allocations',
    ['Allocation', 'Job', 'Group', 'User', 'View', 'ACL', 'Netns', 'State', 'Since', 'Last error'],
    worstFirst(allocations).map(({ jobId, namespace, taskGroup, users, view, acl, netns, late, ...one }) => [
      id(one.id),
      namespace === 'default' ? jobId : `${jobId} (${namespace})`,
      taskGroup,
      users.join(', '),
      view,
      acl,
      netns,
      html`${look(one.state)}${late ? ', late' : ''}`,
      ago(one.since),
      tell(one.lastError?.message ?? ''),
    ]),
    allocations.length,
    'No allocation here has a podman user.',
  )}${section(
    'Held at the gates',
    ['User', 'Allocation', 'Task', 'Held for'],
    shown(held).map(({ user, allocationId, task, since }) => [user, id(allocationId), task ?? '', ago(since)]),
    held.length,
    'Nothing is held.',
  )}${section(
    'Last turned away',
    ['Ago', 'User', 'Allocation', 'Task', 'Code', 'Reason'],
    shown(refusals).map((one) => [
      ago(one.at),
      one.user,
      id(one.allocationId),
      one.task ?? '',
      one.code,
      tell(one.reason),
    ]),
    refusals.length,
    'Nothing was turned away since the agent started.',
  )}${section(
    'Left behind',
    ['Kind', 'User', 'Name', 'State', 'Since', 'Removed in', 'Why'],
    shown(ghosts).map(({ kind, user, name, state, since, removedAt, why, lastError }) => [
      kind,
      user,
      name,
      state,
      ago(since),
      removedAt === undefined ? 'never' : formatAge(removedAt - now),
      tell(lastError ? `${why}; ${lastError.message}` : why),
    ]),
    ghosts.length,
    'Nothing is left behind.',
  )}`;
}

/** Says no more than /metrics and /readyz do to the same people. */
function countedSections({ allocations, held, refusals, ghosts }: AgentStatus, ago: (at: number) => string): Html {
  const counts = STATES.map((state) => ({ state, count: allocations.filter((one) => one.state === state).length }));
  return html`${section(
    'Allocations',
    ['State', 'Allocations'],
    counts.filter(({ count }) => count > 0).map(({ state, count }) => [look(state), String(count)]),
    0,
    'No allocation here has a podman user.',
  )}${section(
    'Held at the gates',
    ['User', 'Held for'],
    shown(held).map(({ user, since }) => [user, ago(since)]),
    held.length,
    'Nothing is held.',
  )}${section(
    'Last turned away',
    ['Ago', 'User', 'Code'],
    shown(refusals).map(({ at, user, code }) => [ago(at), user, code]),
    refusals.length,
    'Nothing was turned away since the agent started.',
  )}${section(
    'Left behind',
    ['Kind', 'User', 'Since'],
    shown(ghosts).map(({ kind, user, since }) => [kind, user, ago(since)]),
    ghosts.length,
    'Nothing is left behind.',
  )}<p>Jobs and allocations are named here where <code>metrics.names</code> is true: whoever can connect reads them then.</p>
`;
}

type Cell = string | Html;

function section(
  title: string,
  header: readonly string[],
  rows: readonly (readonly Cell[])[],
  count: number,
  whenEmpty: string,
): Html {
  const head = header.map((name) => html`<th scope="col">${name}</th>`);
  const body = rows.map(
    (row) =>
      html`<tr>${row.map((cell, at) => html`<td data-label="${header[at] ?? ''}">${typeof cell === 'string' ? cut(cell) : cell}</td>`)}</tr>
`,
  );
  const table =
    rows.length === 0
      ? html`<p>${whenEmpty}</p>`
      : html`<table><thead><tr>${head}</tr></thead><tbody>
${body}</tbody></table>`;
  return html`<section><h2>${title}</h2>
${table}${leftOut(count - rows.length)}</section>
`;
}

function list(looks: string, texts: readonly string[], count: number): Html {
  if (texts.length === 0) return html``;
  const items = texts.map((text) => html`<li class="${looks}">${cut(text)}</li>`);
  return html`<ul>${items}</ul>${leftOut(count - items.length)}
`;
}

function leftOut(count: number): Html {
  return count > 0 ? html`<p class="look">${String(count)} more: <code>nomad-rootless status</code></p>` : html``;
}

function look(word: keyof typeof LOOKS): Html {
  return html`<span class="${LOOKS[word]}">${word}</span>`;
}

function cut(text: string): string {
  return text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS)}…` : text;
}

function shown<T>(all: readonly T[]): readonly T[] {
  return all.slice(0, MOST_ROWS);
}

/** Of each state the ones that came last; nothing is sorted, since there can be ten thousand and anybody can ask. */
function worstFirst(allocations: readonly AllocationStatus[]): AllocationStatus[] {
  const found: AllocationStatus[] = [];
  for (const state of STATES) {
    const room = MOST_ROWS - found.length;
    if (room > 0)
      found.push(
        ...allocations
          .filter((one) => one.state === state)
          .slice(-room)
          .reverse(),
      );
  }
  return found;
}
