import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { mustRun } from '../support/command.ts';
import type { Environment } from '../support/environment.ts';
import { networkLeftovers } from '../support/network-leftovers.ts';
import type { JobSpec, TaskSpec } from '../support/nomad/job.ts';
import type { AllocationUnderTest, NomadUnderTest } from '../support/nomad-under-test.ts';
import { until } from '../support/until.ts';
import { driverFailure, expectNothingLeft, runJob, shell } from './cases.ts';
import { page } from './network-cases.ts';

/** The bridge's own address in mode `bridge`. */
const GATEWAY = '172.26.64.1';
const STAYS = 'echo up; exec sleep 1000';

/** A task that serves the id of its allocation by HTTP, on all addresses of both families. */
function serves(name: string, user: string, port: number, more: Partial<TaskSpec> = {}): TaskSpec {
  const script = `mkdir -p /tmp/www; echo "$NOMAD_ALLOC_ID" >/tmp/www/index.html; exec httpd -f -p "[::]:${port}" -h /tmp/www`;
  return shell(name, user, script, more);
}

/** Gets a page by HTTP from within a task. */
async function pageFrom(allocation: AllocationUnderTest, task: string, host: string, port: number): Promise<string> {
  const get = `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 ${host} ${port}`;
  const answer = await until(`${host}:${port} answers task ${task}`, async () => {
    const { stdout } = await allocation.exec(task, ['/bin/sh', '-c', get]);
    return stdout.includes('200 OK') && stdout;
  });
  return answer.trim().split('\n').at(-1)?.trim() ?? '';
}

/** The cases of group networks with real rootless Podman, which hold with every Nomad. */
export function bridgeCases(environment: () => Environment<NomadUnderTest>): void {
  const run = async (id: string, user: string, job: Omit<JobSpec, 'id'>) => {
    const { nomad } = environment();
    const allocation = await runJob(nomad, { id, meta: { podman_user: user }, networkMode: 'bridge', ...job });
    await allocation.waitFor('running');
    return allocation;
  };
  const expectNoNetworkLeft = async () => {
    const { nomad } = environment();
    await until('nothing is left', async () => (await networkLeftovers(nomad)).length === 0).catch(() => undefined);
    expect(await networkLeftovers(nomad)).toEqual([]);
  };

  test("alice's server is reached by its address, by the port that leads to it, and from bob's allocation", async () => {
    const server = await run('web', 'alice', {
      ports: [{ label: 'http', to: 8080 }],
      tasks: [serves('web', 'alice', 8080)],
    });
    const client = await run('client', 'bob', { tasks: [shell('client', 'bob', STAYS)] });
    expect(await page(`${await server.address()}:8080`)).toBe(server.id);
    expect(await page(`127.0.0.1:${await server.hostPort('http')}`)).toBe(server.id);
    expect(await pageFrom(client, 'client', await server.address(), 8080)).toBe(server.id);
  });

  test('a container reaches out', async () => {
    const allocation = await run('out', 'alice', { tasks: [shell('t', 'alice', STAYS)] });
    const host = createServer((_, response) => response.end('the host')).listen(0, GATEWAY);
    onTestFinished(() => void host.close());
    await once(host, 'listening');
    expect(await pageFrom(allocation, 't', GATEWAY, (host.address() as AddressInfo).port)).toBe('the host');
  });

  test('port 80 binds, and IPv6 works', async () => {
    const allocation = await run('low', 'alice', { tasks: [serves('web', 'alice', 80)] });
    expect(await page(`${await allocation.address()}:80`)).toBe(allocation.id);
    expect(await page(`[${await allocation.addressIpv6()}]:80`)).toBe(allocation.id);
  });

  test('two tasks of a group talk over localhost, and a task of another driver is in the same network', async () => {
    const after = { lifecycle: { hook: 'poststart', sidecar: true } } as const;
    const root: TaskSpec = {
      name: 'root',
      driver: 'raw_exec',
      command: '/bin/sh',
      args: ['-c', 'ip -brief address show eth0; exec sleep 1000'],
      ...after,
    };
    const allocation = await run('group', 'alice', {
      tasks: [serves('web', 'alice', 8080), shell('other', 'alice', STAYS, after), root],
    });
    await allocation.waitForLog('other', 'up');
    expect(await pageFrom(allocation, 'other', '127.0.0.1', 8080)).toBe(allocation.id);
    expect(await allocation.waitForLog('root', /eth0/)).toContain(` ${await allocation.address()}/`);
  });

  test('a poststop task still has the network', async () => {
    const after = shell('after', 'alice', 'ip -o -4 address show eth0', { lifecycle: { hook: 'poststop' } });
    const allocation = await run('after', 'alice', { tasks: [shell('t', 'alice', STAYS), after] });
    const address = await allocation.address();
    await allocation.stop();
    expect(await allocation.waitForLog('after', /eth0/)).toContain(` ${address}/`);
  });

  test('a network of the node comes with the kernel parameters that its plugins have set', async () => {
    const allocation = await run('tuned', 'alice', {
      networkMode: 'cni/tuned',
      tasks: [serves('web', 'alice', 80, { user: '1000' })],
    });
    expect(await page(`${await allocation.address()}:80`)).toBe(allocation.id);
  });

  test("bob's Podman cannot join alice's network", async () => {
    const { sandbox } = environment();
    const allocation = await run('closed', 'alice', { tasks: [shell('t', 'alice', STAYS)] });
    const run1 = ['podman', 'run', '--rm', `--network=ns:/run/netns/${allocation.id}`, 'localhost/bb:1', 'true'];
    const { code, stderr } = await until('crun says why', async () => {
      const result = await sandbox.user('bob').run(run1);
      // It says so where its child, which was refused, has ended before it was spoken to.
      return !/(write to|read status from) sync socket/.test(result.stderr) && result;
    });
    expect({ code, stderr }).toEqual({ code: 126, stderr: expect.stringContaining('Operation not permitted') });
  });

  test('two users in one group network are refused', async () => {
    const { nomad } = environment();
    const tasks = ['alice', 'bob'].map((user) => shell(user, user, 'true', { meta: { podman_user: user } }));
    const allocation = await runJob(nomad, { id: 'two', networkMode: 'bridge', tasks });
    await allocation.waitFor('failed');
    // Nomad stops the other task as soon as one has failed.
    const events = (await Promise.all(['alice', 'bob'].map((task) => allocation.events(task)))).flat();
    const failures = events.filter(({ Type }) => Type === 'Driver Failure').map(({ DriverError }) => DriverError);
    expect(failures.join()).toMatch(/several users \(alice, bob\).*bridge network has one owner/);
  });

  test('userns "auto" and "keep-id" say what they need, and run once it is there', async () => {
    const { nomad, sandbox } = environment();
    const alice = sandbox.user('alice');
    for (const userns of ['auto', 'keep-id'] as const) {
      const job = {
        id: `userns-${userns}`,
        meta: { podman_user: 'alice' },
        networkMode: 'bridge',
        tasks: [serves('web', 'alice', 8080, { userns })],
      };
      const refused = await runJob(nomad, job);
      expect(await driverFailure(refused, 'web')).toMatch(new RegExp(`userns = .*${userns}.*default_sysctls = \\[\\]`));
      await alice.configure('default_sysctls = []');
      const allocation = await runJob(nomad, { ...job, id: `${job.id}-again` });
      expect(await page(`${await allocation.address()}:8080`)).toBe(allocation.id);
      await alice.configure('');
    }
  });

  test('the agent killed and started again leaves the network as it is, and serves the next task', async () => {
    const { agent } = environment();
    const allocation = await run('kept', 'alice', { tasks: [serves('web', 'alice', 8080)] });
    await agent.stop('SIGKILL');
    await agent.start();
    expect(await page(`${await allocation.address()}:8080`)).toBe(allocation.id);
    const next = await run('next', 'alice', { tasks: [serves('web', 'alice', 8080)] });
    expect(await page(`${await next.address()}:8080`)).toBe(next.id);
  });

  test('status says whose a network is', async () => {
    const { agent } = environment();
    const allocation = await run('status', 'alice', { tasks: [shell('t', 'alice', STAYS)] });
    const { stdout } = await agent.command(['status', '--json', allocation.id]);
    expect(JSON.parse(stdout).allocations).toMatchObject([{ netns: 'owned', state: 'ready' }]);
    expect((await agent.command(['status', allocation.id])).stdout).toMatch(/NETNS[\s\S]* owned /);
  });

  test('many allocations with a network at once are all served', async () => {
    const allocations = await Promise.all(
      Array.from({ length: 10 }, (_, n) => {
        const user = n % 2 ? 'bob' : 'alice';
        return run(`many-${n}`, user, { tasks: [serves('web', user, 8080)] });
      }),
    );
    for (const allocation of allocations) expect(await page(`${await allocation.address()}:8080`)).toBe(allocation.id);
  });

  test('nothing is left once the allocations are gone: no link, no lease, no rule, no mount', async () => {
    await expectNoNetworkLeft();
    await expectNothingLeft(environment());
    expect(await mustRun(['ip', '-brief', 'link', 'show', 'type', 'veth'])).toBe('');
  });
}
