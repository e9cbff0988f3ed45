import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { statusPage } from '../../../src/agent/status-page.ts';
import { ToldTexts } from '../../../src/agent/told-texts.ts';
import type { AgentStatus, AllocationStatus } from '../../../src/model/status.ts';
import { AGENT_STATUS, ALLOCATION_STATUS } from '../../support/agent-status.ts';

const now = Date.UTC(2026, 0, 1);
const HOSTILE = `"><script>alert('1')</script><img src=x onerror=alert(2)>&amp;\u202e\u0007`;

const allocation: AllocationStatus = { ...ALLOCATION_STATUS, since: now - 65_000 };
const status: AgentStatus = {
  ...AGENT_STATUS,
  startedAt: now - 3_600_000,
  nomad: { connected: true, lastListing: now - 12_000 },
  warnings: ['the data dir may be entered by all'],
  users: [
    { name: 'alice', uid: 1001, gate: '/run/gate/alice.sock', podman: 'up', version: '5.4.2', since: now - 60_000 },
    { name: 'bob', podman: 'down', since: now - 5000, problem: 'nobody listens; start podman.socket' },
  ],
  allocations: [allocation],
  ghosts: [
    {
      kind: 'container',
      name: 'web-9f',
      allocationId: allocation.id,
      user: 'alice',
      state: 'running',
      since: now - 60_000,
      why: 'the allocation is complete',
    },
  ],
  held: [{ user: 'alice', since: now - 2000, allocationId: allocation.id, task: 'server' }],
  refusals: [
    {
      at: now - 3000,
      user: 'bob',
      allocationId: 'ffff0000-1',
      task: 'job',
      code: 'foreign',
      reason: '/etc is not yours',
    },
  ],
};
const tell = (text: string) => new ToldTexts(() => []).tell(text);
const page = (changes: Partial<AgentStatus> = {}, names = true) =>
  statusPage({ ...status, ...changes }, { names, now, tell }).body;

/** What is hostile, wherever a job author, a user or Nomad has a say. */
function hostile(): AgentStatus {
  const text = HOSTILE;
  return {
    ...status,
    version: text,
    nodeId: text,
    reasons: [text],
    warnings: [text],
    users: status.users.map((user) => ({ ...user, name: text, gate: text, version: text, problem: text })),
    allocations: [
      {
        ...allocation,
        id: text,
        namespace: text,
        jobId: text,
        taskGroup: text,
        users: [text],
        lastError: { code: text, message: text },
      },
    ],
    ghosts: status.ghosts.map((ghost) => ({ ...ghost, name: text, user: text, state: text, why: text })),
    held: [{ user: text, since: now, allocationId: text, task: text }],
    refusals: [{ at: now, user: text, allocationId: text, task: text, code: text, reason: text }],
  };
}

test.each([
  'ready',
  'last listed 12s ago',
  'the data dir may be entered by all',
  '/run/gate/alice.sock',
  'nobody listens; start podman.socket',
  '1a2b3c4d',
  'server',
  '/etc is not yours',
  'web-9f',
])('shows %s', (text) => {
  expect(page()).toContain(text);
});

test('says why the agent is not ready', () => {
  const shown = page({ ready: false, reasons: ['Nomad is out of reach'] });
  expect(shown).toContain('not ready');
  expect(shown).toContain('Not ready: Nomad is out of reach');
});

test.each([true, false])('a name cannot become markup, nor reverse a text (names: %s)', (names) => {
  const clean = statusPage({ ...hostile(), version: '1' }, { names, now, tell }).body;
  const tags = (body: string) => [...new Set([...body.matchAll(/<(\w+)/g)].map(([, tag = '']) => tag))].sort();
  expect(clean).toContain('&lt;script&gt;');
  expect(tags(statusPage(hostile(), { names, now, tell }).body)).toEqual(
    tags(page({ ready: true, reasons: ['x'] }, names)),
  );
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it is about
  expect(clean).not.toMatch(/<script|<img|onerror=alert\(2\)>|[\x00-\x09\x0b-\x1f\u202e]/);
});

test('of ten thousand allocations it shows those that need somebody, and how many it leaves out', () => {
  const many = Array.from({ length: 10_000 }, (_, at) => ({
    ...allocation,
    id: `${at}-`.padStart(36, '0'),
    jobId: `job-${at}`,
  }));
  const failing = { ...allocation, id: 'fa111111-', jobId: 'broken', state: 'failing' as const };
  const shown = page({ allocations: [...many.slice(0, 5000), failing, ...many.slice(5000)] });
  expect(shown).toContain('broken');
  expect(shown).toContain('job-9999');
  expect(shown).toContain('9901 more');
});

test('is short, whatever it is to show', () => {
  const long = HOSTILE.repeat(1000);
  const times = <T>(one: T) => Array.from({ length: 1000 }, () => one);
  const { allocations, users, held, refusals, ghosts } = JSON.parse(
    JSON.stringify(hostile()).replaceAll(JSON.stringify(HOSTILE).slice(1, -1), JSON.stringify(long).slice(1, -1)),
  ) as AgentStatus;
  const shown = page({
    allocations: allocations.flatMap(times),
    users: users.flatMap(times),
    held: held.flatMap(times),
    refusals: refusals.flatMap(times),
    ghosts: ghosts.flatMap(times),
    warnings: times(long),
    reasons: times(long),
  });
  expect(shown.length).toBeLessThan(4_000_000);
});

test('names no job, allocation or task where it must not, and says what would', () => {
  const shown = page({}, false);
  for (const name of ['1a2b3c4d', 'front', 'server', 'web', '/etc is not yours', 'ffff0000']) {
    expect(shown).not.toContain(name);
  }
  expect(shown).toContain('metrics.names');
  expect(shown).toContain('foreign');
});

test('may load nothing, run nothing and be framed by nobody; its own style alone counts', () => {
  const { headers, body } = statusPage(status, { names: true, now, tell });
  const [, style = ''] = /<style>([\s\S]*?)<\/style>/.exec(body) ?? [];
  const hash = createHash('sha256').update(style).digest('base64');
  expect(style).toContain('prefers-color-scheme: dark');
  expect(headers?.['content-security-policy']).toBe(
    `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  );
  expect(body).not.toMatch(/<script| style=| on\w+=/);
});

const PLANTED = 'b1946ac9-2492-4d23-95a7-planted00000';
test.each([
  ['in what Nomad answered', `Nomad refused /v1/node/x (403 the token ${PLANTED} has expired): try again`],
  ['as a header', 'the proxy answered 400: X-Nomad-Token: planted-of-somebody'],
  ['in a URL', 'cannot reach http://operator:planted@127.0.0.1:4646/v1/agent/self'],
  ['in what a create had', 'refused: {"env":{"DB_PASSWORD":"planted"}}'],
  ['as a web token', 'signature of eyJhbGciOi.eyJzdWIi.planted-x is wrong'],
  ['where the text is cut', `${'because of what was '.repeat(24)} and of ${PLANTED.repeat(8)}`],
])('shows no secret %s, wherever the text is', (_, text) => {
  const lastError = { code: 'nomad_denied', message: text };
  const [ghost] = status.ghosts;
  const [refusal] = status.refusals;
  const planted: AgentStatus = {
    ...status,
    ready: false,
    reasons: [text],
    warnings: [text],
    users: status.users.map((user) => ({ ...user, problem: text })),
    allocations: [{ ...allocation, state: 'failing', lastError }],
    ghosts: ghost
      ? [
          { ...ghost, lastError },
          { ...ghost, why: text },
        ]
      : [],
    refusals: refusal ? [{ ...refusal, reason: text }] : [],
  };
  const texts = new ToldTexts(() => [PLANTED]);
  texts.refresh();
  for (const names of [true, false]) {
    const { body } = statusPage(planted, { names, now, tell: (words) => texts.tell(words) });
    expect(body).not.toMatch(/planted|b1946ac9/);
    expect(body).toContain(text.slice(0, 7));
  }
});
