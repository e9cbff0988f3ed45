import { createServer } from 'node:http';
import { afterEach, expect, test } from 'vitest';
import { statusPage } from '../../../src/agent/status-page.ts';
import type { AgentStatus } from '../../../src/model/status.ts';
import { AGENT_STATUS } from '../../support/agent-status.ts';
import { loadInChromium } from '../../support/chromium.ts';
import { requires } from '../../support/requires.ts';

const SCRIPT = '<script>document.title = "taken over"</script>';
const HOSTILE = `">${SCRIPT}<img src=x onerror='document.title = "taken over"'>`;
const status: AgentStatus = {
  ...AGENT_STATUS,
  warnings: [HOSTILE],
  users: [{ name: 'alice', podman: 'down', since: 0, problem: HOSTILE }],
  refusals: [{ at: 0, user: 'alice', task: HOSTILE, code: 'x', reason: HOSTILE }],
};

let close: () => void = () => undefined;
afterEach(() => close());

/** What Chromium makes of the page, its markup changed on the way. */
async function load(change: (body: string) => string) {
  const { headers = {}, body } = statusPage(status, { names: true, now: 0, tell: (text) => text });
  const server = createServer((_, response) => response.writeHead(200, headers).end(change(body)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  close = () => void server.close();
  const address = server.address();
  return await loadInChromium(`http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/`);
}

requires('chromium')('the status page in a browser', () => {
  test('is shown with its style, runs nothing of what is in a name, and breaks no rule of its policy', async () => {
    const { dom, complaints } = await load((body) => body);
    expect(dom).toContain('<title>nomad-rootless</title>');
    expect(dom).toContain('&lt;script&gt;');
    expect(dom).not.toMatch(/<script|<img/);
    expect(complaints).not.toContain('Content Security Policy');
  });

  test('would run no script that had got into it', async () => {
    const { dom, complaints } = await load((body) => body.replace('</main>', `${SCRIPT}</main>`));
    expect(dom).toContain('<title>nomad-rootless</title>');
    expect(complaints).toContain('Content Security Policy');
  });
});
