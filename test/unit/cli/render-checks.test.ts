import { expect, test } from 'vitest';
import { renderChecks } from '../../../src/cli/render-checks.ts';
import type { Check } from '../../../src/model/checks/check.ts';

const paint = (style: string, text: string) => `<${style}>${text}</${style}>`;
const node: Check = { id: 'node', title: 'Node.js', verdict: 'ok', found: '24.1.0' };
const linger: Check = {
  id: 'linger',
  title: 'linger',
  user: 'alice',
  verdict: 'failed',
  found: 'off\u001b[2J',
  remedy: 'loginctl enable-linger alice',
};

test('checks are a table, with each command once below it and the count at the end', () => {
  expect(renderChecks([node, linger, linger], { paint })).toBe(`        USER   CHECK    FOUND
<green>ok</green>             Node.js  24.1.0
<red>failed</red>  alice  linger   off\\x1b[2J
<red>failed</red>  alice  linger   off\\x1b[2J

To fix it, as root:
  loginctl enable-linger alice

<red>2 failed, 0 warnings, 1 ok.</red>
`);
  expect(renderChecks([node], { paint })).toContain('<green>All 1 checks passed.</green>');
});
