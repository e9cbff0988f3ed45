import { expect, test } from 'vitest';
import { render } from '../../../src/cli/status.ts';
import type { AgentStatus, AllocationStatus, GhostStatus } from '../../../src/model/status.ts';
import { AGENT_STATUS, ALLOCATION_STATUS } from '../../support/agent-status.ts';

const now = Date.UTC(2026, 0, 1);
const marked = { paint: (style: string, text: string) => `<${style}:${text}>` };
const plain = { paint: (_: string, text: string) => text };

const allocation: AllocationStatus = { ...ALLOCATION_STATUS, since: now - 65_000 };
const status: AgentStatus = {
  ...AGENT_STATUS,
  startedAt: now - 3_600_000,
  nomad: { connected: true, lastListing: now - 12_000 },
  allocations: [allocation],
};

test('shows the agent, and a row for each allocation', () => {
  expect(render(status, plain, now).split('\n')).toEqual([
    'nomad-rootless 1.2.3, up 1h0m: ready',
    'Nomad: connected, last listed 12s ago, node node-1',
    '',
    'ALLOCATION  JOB  GROUP  USER   VIEW     ACL  NETNS  STATE  SINCE  LAST ERROR',
    '1a2b3c4d    web  front  alice  mounted  set  none   ready  1m5s',
    '',
  ]);
});

test('says why the agent is not ready', () => {
  const shown = render(
    { ...status, nodeId: '', ready: false, reasons: ['Nomad is out of reach'], nomad: { connected: false } },
    plain,
    now,
  );
  expect(shown).toContain(
    'not ready\nNomad: not connected, never listed, node unknown\nNot ready: Nomad is out of reach\n',
  );
});

test('says what people should know although it keeps nothing from working', () => {
  const shown = render({ ...status, warnings: ['nomad.node_id is a, Nomad says b'] }, plain, now);
  expect(shown).toContain('ready\nNomad: connected, last listed 12s ago, node node-1\nWarning: nomad.node_id is a');
});

test('says so where there is no allocation', () => {
  expect(render({ ...status, allocations: [] }, plain, now)).toContain('No allocation here has a podman user.');
});

test('colours the states by how bad they are, and tells who was late', () => {
  const states = [
    { ...allocation, late: true },
    { ...allocation, state: 'waiting' as const },
    { ...allocation, state: 'refused' as const, lastError: { code: 'x', message: 'no such user' } },
  ];
  const shown = render({ ...status, allocations: states }, marked, now);
  expect(shown).toContain('<green:ready, late>');
  expect(shown).toContain('<yellow:waiting>');
  expect(shown).toMatch(/<red:refused> .* no such user/);
});

test('shows the namespace where it is not the default one', () => {
  expect(render({ ...status, allocations: [{ ...allocation, namespace: 'team' }] }, plain, now)).toContain(
    'web (team)',
  );
});

test('a job name cannot steer the terminal', () => {
  const evil = { ...allocation, jobId: '\u001b[2J', lastError: { code: 'x', message: 'a\u001b]0;b\u0007' } };
  const shown = render({ ...status, reasons: ['\u001b[1m'], allocations: [evil] }, plain, now);
  expect(['\u001b', '\u0007'].filter((control) => shown.includes(control))).toEqual([]);
});

test('shows what was left behind, and when it goes', () => {
  const ghost: GhostStatus = {
    kind: 'container',
    name: 'web-1a2b',
    allocationId: allocation.id,
    user: 'alice',
    state: 'running',
    since: now - 60_000,
    why: 'the allocation is failed',
  };
  const failed: GhostStatus = {
    ...ghost,
    kind: 'network',
    name: '/run/netns/1a2b',
    lastError: { code: 'x', message: 'busy' },
  };
  const shown = render({ ...status, ghosts: [{ ...ghost, removedAt: now + 240_000 }, failed] }, plain, now);
  expect(shown.split('\n').slice(-6)).toEqual([
    '',
    'Ghosts:',
    'GHOST      USER   NAME             STATE    SINCE  REMOVED IN  WHY',
    'container  alice  web-1a2b         running  1m0s   4m0s        the allocation is failed',
    'network    alice  /run/netns/1a2b  running  1m0s   never       the allocation is failed; busy',
    '',
  ]);
});
