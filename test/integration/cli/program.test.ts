import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { checkConfigCommand } from '../../../src/cli/check-config.ts';
import { EXIT } from '../../../src/cli/exit-code.ts';
import { runProgram } from '../../../src/cli/program.ts';
import { statusCommand } from '../../../src/cli/status.ts';
import type { AgentStatus } from '../../../src/model/status.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const allocation = {
  id: '1a2b3c4d-0000-0000-0000-000000000000',
  namespace: 'default',
  jobId: 'web',
  taskGroup: 'front',
  users: ['alice'],
  access: 'mount',
  view: 'mounted',
  acl: 'set',
  netns: 'owned',
  state: 'ready',
  since: 0,
  late: false,
} as const;
const status: AgentStatus = {
  version: '1.2.3',
  nodeId: 'node-1',
  startedAt: 0,
  nomad: { connected: true },
  ready: true,
  reasons: [],
  warnings: [],
  allocations: [allocation, { ...allocation, id: '1a2b9999-0000-0000-0000-000000000000', jobId: 'db' }],
};

let directory: string;
let config: string;
let output: string;
let errors: string;
let agent: Server | undefined;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'nomad-rootless-cli-'));
  config = join(directory, 'config.yaml');
  writeFileSync(config, `admin: {socket: ${directory}/admin.sock}\nnomad: {token: geheim}\n`);
  output = '';
  errors = '';
  for (const name of ['NOMAD_ADDR', 'NOMAD_TOKEN']) vi.stubEnv(name, undefined);
});
afterEach(() => {
  agent?.close();
  agent = undefined;
  vi.unstubAllEnvs();
  rmSync(directory, { recursive: true });
});

function run(...args: string[]): Promise<number> {
  const write = (text: string) => {
    output += text;
  };
  const terminal = { write, paint: (_: string, text: string) => text };
  const commands = [statusCommand(terminal, new ManualClock()), checkConfigCommand(terminal)];
  return runProgram(commands, '1.2.3', ['node', 'nomad-rootless', ...args], (message) => {
    errors += `${message}\n`;
  });
}

/** Something that answers on the admin socket. */
function answer(body: string, code = 200): Promise<void> {
  const server = createServer((_, response) => response.writeHead(code).end(body));
  agent = server;
  return new Promise((resolve) => server.listen(join(directory, 'admin.sock'), resolve));
}

describe('status', () => {
  test('prints a table of all allocations', async () => {
    await answer(JSON.stringify(status));
    expect(await run('status', '--config', config)).toBe(EXIT.ok);
    expect(output).toMatch(/^1a2b3c4d +web +front +alice +mount +mounted +set +owned +ready/m);
    expect(output).toMatch(/^1a2b9999 +db/m);
  });

  test('--json prints what the agent said, of one allocation where it is named', async () => {
    await answer(JSON.stringify(status));
    expect(await run('status', '--json', '--config', config, '1A2B3')).toBe(EXIT.ok);
    expect(JSON.parse(output)).toEqual({ ...status, allocations: [allocation] });
  });

  test('an id that no allocation begins with exits with 4', async () => {
    await answer(JSON.stringify(status));
    expect(await run('status', '--config', config, 'ffff')).toBe(EXIT.noSuchAllocation);
    expect(errors).toContain('the agent knows no allocation ffff');
  });

  test('an id that several begin with exits with 4 and names them', async () => {
    await answer(JSON.stringify(status));
    expect(await run('status', '--config', config, '1a2b')).toBe(EXIT.noSuchAllocation);
    expect(errors).toContain('2 allocations begin with 1a2b: 1a2b3c4d-');
  });

  test('without an agent it exits with 3 and says where it looked', async () => {
    expect(await run('status', '--config', config)).toBe(EXIT.notRunning);
    expect(errors).toContain(`nobody listens on ${directory}/admin.sock`);
  });

  test('an answer of another form is an error that says where', async () => {
    await answer(JSON.stringify({ ...status, allocations: [{ ...allocation, state: 'odd' }] }));
    expect(await run('status', '--config', config)).toBe(EXIT.error);
    expect(errors).toContain('/v1/status: allocations.0.state: expected');
  });

  test.each([
    ['{"error":"broken"}', 500, 'the agent answered 500'],
    ['no json', 200, 'cannot ask the agent'],
  ])('the answer %s with %d is an error', async (body, code, message) => {
    await answer(body, code);
    expect(await run('status', '--config', config)).toBe(EXIT.error);
    expect(errors).toContain(message);
  });
});

describe('check-config', () => {
  test('prints every value with where it comes from, and hides the token', async () => {
    expect(await run('check-config', '--config', config)).toBe(EXIT.ok);
    expect(output).toMatch(/^nomad\.token +\(hidden\) +file$/m);
    expect(output).toMatch(/^gate\.timeout +30s +default$/m);
    expect(output).not.toContain('geheim');
  });

  test('hides a token of the environment as well', async () => {
    vi.stubEnv('NOMAD_TOKEN', 'geheim-too');
    expect(await run('check-config', '--json', '--config', config)).toBe(EXIT.ok);
    expect(JSON.parse(output).keys['nomad.token']).toEqual({ value: '(hidden)', origin: 'env' });
    expect(output).not.toContain('geheim');
  });

  test('a file that cannot be used exits with 1, each problem on a line', async () => {
    writeFileSync(config, 'min_uid: 0\naccess: all\n');
    expect(await run('check-config', '--config', config)).toBe(EXIT.error);
    expect(errors).toMatch(/config\.yaml:1: min_uid: .*\n.*config\.yaml:2: access: /);
  });
});

describe('the command line', () => {
  test.each([[['nonsense']], [['status', '--nonsense']], [['status', 'a', 'b']], [[]]])(
    '%j is wrong and exits with 2',
    async (args) => {
      expect(await run(...args)).toBe(EXIT.usage);
      expect(errors).not.toBe('');
    },
  );
});
