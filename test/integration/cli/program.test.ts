import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { checkConfigCommand } from '../../../src/cli/check-config.ts';
import { EXIT } from '../../../src/cli/exit-code.ts';
import { explainCommand } from '../../../src/cli/explain.ts';
import { runProgram } from '../../../src/cli/program.ts';
import { statusCommand } from '../../../src/cli/status.ts';
import type { Explanation } from '../../../src/model/explanation.ts';
import type { AgentStatus, AllocationStatus } from '../../../src/model/status.ts';
import { AGENT_STATUS, ALLOCATION_STATUS } from '../../support/agent-status.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const allocation: AllocationStatus = { ...ALLOCATION_STATUS, netns: 'owned' };
const status: AgentStatus = {
  ...AGENT_STATUS,
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
  const terminal = { write, rows: undefined, paint: (_: string, text: string) => text };
  const clock = new ManualClock();
  const commands = [statusCommand(terminal, clock), explainCommand(terminal, clock), checkConfigCommand(terminal)];
  return runProgram(commands, '1.2.3', ['node', 'nomad-rootless', ...args], (message) => {
    errors += `${message}\n`;
  });
}

/** Something that answers on the admin socket, the same to everything or what is said for a path. */
function answer(body: string | Record<string, unknown>, code = 200): Promise<void> {
  const server = createServer(({ url = '' }, response) => {
    const said = typeof body === 'string' ? body : JSON.stringify(body[url]);
    response.writeHead(said === undefined ? 404 : code).end(said ?? JSON.stringify({ error: `none at ${url}` }));
  });
  agent = server;
  return new Promise((resolve) => server.listen(join(directory, 'admin.sock'), resolve));
}

const explanation: Explanation = {
  id: allocation.id,
  namespace: 'team-a',
  jobId: 'web/dispatch-1',
  parentJobId: 'web',
  taskGroup: 'front',
  metaKey: 'podman_user',
  verdict: 'access',
  state: 'ready',
  since: new ManualClock().now(),
  notApplied: [],
  tasks: [
    {
      name: 'web',
      driver: 'podman',
      meta: [
        { level: 'group', value: 'alice' },
        { level: 'job', value: 'bob' },
      ],
      user: { name: 'alice', uid: 1001 },
      runsAs: { name: 'alice', uid: 1001 },
      policy: { entry: { place: 1, namespace: 'team-*', jobs: '*' } },
      volumes: [{ name: 'data', type: 'host', source: 'web-data', readOnly: true, path: '/data/host_volumes/1' }],
    },
    { name: 'log', driver: 'raw_exec', otherUser: 'nobody', meta: [], volumes: [] },
  ],
  parts: [
    { kind: 'acl', state: 'done', what: [] },
    { kind: 'view', state: 'missing', what: ['a mount'] },
  ],
};

describe('explain', () => {
  test('says task by task what decided, and what was done', async () => {
    await answer({ '/v1/status': status, [`/v1/explain/${allocation.id}`]: explanation });
    expect(await run('explain', '--config', config, '1a2b3')).toBe(EXIT.ok);
    expect(output).toBe(`Allocation ${allocation.id}
Job web/dispatch-1, child of web, namespace team-a, group front
State: ready since 0s

Task web (podman)
  podman_user = "alice", from the meta of the group; it overrides podman_user = "bob" of the job
  entry 1 of the policy (namespace team-*, jobs *) allows alice
  runs as alice (uid 1001)
  mounts volume data: host volume web-data at /data/host_volumes/1, read-only

Task log (raw_exec)
  of another driver: started by Nomad itself, as nobody

WHAT  STATE
acl   done
view  missing  a mount
`);
  });

  test('says what is refused and who may do something about it', async () => {
    const reason = 'no such user on this node';
    const tasks = [
      {
        ...explanation.tasks[0],
        user: undefined,
        runsAs: undefined,
        policy: undefined,
        refusal: { code: 'x', reason },
      },
    ];
    const refused = {
      ...explanation,
      verdict: 'refused',
      refusal: { code: 'x', reason },
      state: 'refused',
      tasks,
      parts: [],
    };
    await answer({ [`/v1/explain/${allocation.id}`]: refused });
    expect(await run('explain', '--config', config, allocation.id.toUpperCase())).toBe(EXIT.ok);
    expect(output).toContain(`Refused: ${reason}\n`);
    expect(output).toContain(`  refused: ${reason}\n`);
    expect(output).not.toContain('runs as');
    expect(output).toContain('Nothing on this host belongs to it.\n');
  });

  test('says whom a task runs as, not whom its meta names too late', async () => {
    const tasks = [{ ...explanation.tasks[0], runsAs: { name: 'bob', uid: 1002 } }];
    await answer({ [`/v1/explain/${allocation.id}`]: { ...explanation, tasks } });
    expect(await run('explain', '--config', config, allocation.id)).toBe(EXIT.ok);
    expect(output).toContain('  runs as bob (uid 1002)\n');
    expect(output).not.toContain('runs as alice');
  });

  test('--json prints what the agent said', async () => {
    await answer({ [`/v1/explain/${allocation.id}`]: explanation });
    expect(await run('explain', '--json', '--config', config, allocation.id)).toBe(EXIT.ok);
    expect(JSON.parse(output)).toEqual(explanation);
  });

  test('an allocation that Nomad does not know exits with 4', async () => {
    await answer({});
    expect(await run('explain', '--config', config, allocation.id)).toBe(EXIT.noSuchAllocation);
    expect(errors).toContain('none at /v1/explain/');
  });

  test('how an id begins that is none of ours exits with 4, and says to give the whole id', async () => {
    await answer({ '/v1/status': status });
    expect(await run('explain', '--config', config, 'ffff')).toBe(EXIT.noSuchAllocation);
    expect(errors).toContain('give `explain` the whole id');
  });

  test('shows what a job author wrote as text, whatever it would do to a terminal', async () => {
    const [task] = explanation.tasks;
    const tasks = [{ ...task, name: 'a\u001b[2Jb', meta: [{ level: 'job', value: 'x\u001b]0;t\u0007' }] }];
    await answer({ [`/v1/explain/${allocation.id}`]: { ...explanation, jobId: 'j\u001b[1m', tasks } });
    expect(await run('explain', '--config', config, allocation.id)).toBe(EXIT.ok);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it is about
    expect(output).not.toMatch(/[\x00-\x09\x0b-\x1f]/);
  });

  test('without an allocation the command line is wrong', async () => {
    expect(await run('explain', '--config', config)).toBe(EXIT.usage);
  });
});

describe('status', () => {
  test('prints a table of all allocations', async () => {
    await answer(JSON.stringify(status));
    expect(await run('status', '--config', config)).toBe(EXIT.ok);
    expect(output).toMatch(/^1a2b3c4d +web +front +alice +mounted +set +owned +ready/m);
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
    expect(errors).toContain(`nothing listens on ${directory}/admin.sock`);
  });

  test('an answer of another form is an error that says where', async () => {
    await answer(JSON.stringify({ ...status, allocations: [{ ...allocation, state: 'odd' }] }));
    expect(await run('status', '--config', config)).toBe(EXIT.error);
    expect(errors).toContain('/v1/status.allocations.0.state: expected');
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
