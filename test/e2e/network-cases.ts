import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { mustRun } from '../support/command.ts';
import { networkLeftovers } from '../support/network-leftovers.ts';
import type { Conflist } from '../support/nomad/cni.ts';
import type { JobSpec, TaskSpec } from '../support/nomad/job.ts';
import type { RecordedAllocation } from '../support/nomad/recorded.ts';
import type { AllocationUnderTest, NomadUnderTest } from '../support/nomad-under-test.ts';
import { until } from '../support/until.ts';
import { runJob } from './cases.ts';

/** The gateway of mode `bridge`: the bridge's own address. */
const GATEWAY = '172.26.64.1';

/** A chain whose last plugin sets a sysctl in the network namespace, for mode `cni/tuned`. */
export const TUNED: Conflist = {
  cniVersion: '0.4.0',
  name: 'tuned',
  plugins: [
    { type: 'loopback' },
    {
      type: 'ptp',
      ipam: { type: 'host-local', subnet: '10.99.0.0/24', dataDir: '/run/cni' },
    },
    { type: 'tuning', sysctl: { 'net.ipv4.ip_unprivileged_port_start': '80' } },
  ],
};

/** What the cases need of the Nomad that they run against. */
export const NETWORK = { subnetIpv6: 'fd00:6e72::/64', chains: [TUNED] };

/** A task without a container, which runs in its group's network all the same. */
export function script(text: string, more: Partial<TaskSpec> = {}): TaskSpec {
  return { name: 't', driver: 'raw_exec', command: '/bin/sh', args: ['-c', text], ...more };
}

const STAYS = script('exec sleep 1000');

/** Serves its own id by HTTP on a port, on all addresses of both families. */
function serves(port: number | string): TaskSpec {
  return script(`mkdir www; echo "$NOMAD_ALLOC_ID" >www/index.html; exec busybox httpd -f -p "[::]:${port}" -h www`);
}

/** Gets a page and writes it. */
const GET =
  'fetch(process.argv[1]).then((response) => response.text()).then((text) => process.stdout.write(text.trim()))';

/** What an HTTP server says, as soon as it answers, seen from the host or from an allocation's network. */
export function page(address: string, from?: AllocationUnderTest): Promise<string> {
  const inNetwork = from ? ['nsenter', `--net=${from.netns}`] : [];
  const get = [...inNetwork, process.execPath, '--eval', GET, `http://${address}/`];
  return until(`${address} answers`, () => mustRun(get, { timeoutMs: 5000 }));
}

/** The allocation as Nomad's API gives it. */
async function read(nomad: NomadUnderTest, { id }: AllocationUnderTest): Promise<RecordedAllocation> {
  return (await (await fetch(`${nomad.address}/v1/allocation/${id}`)).json()) as RecordedAllocation;
}

/** The cases that hold with every Nomad, without Podman. */
export function networkCases(current: () => NomadUnderTest): void {
  const run = async (id: string, job: Omit<JobSpec, 'id'>) => {
    const allocation = await runJob(current(), { id, networkMode: 'bridge', ...job });
    await allocation.waitFor('running');
    return allocation;
  };
  const expectNothingLeft = async () => {
    await until('nothing is left', async () => (await networkLeftovers(current())).length === 0).catch(() => undefined);
    expect(await networkLeftovers(current())).toEqual([]);
  };

  test('a server in a bridge network is reached from the host, by its address and by the port that leads to it', async () => {
    const allocation = await run('reached', { ports: [{ label: 'http', to: 8080 }], tasks: [serves(8080)] });
    expect(await page(`${await allocation.address()}:8080`)).toBe(allocation.id);
    expect(await page(`127.0.0.1:${await allocation.hostPort('http')}`)).toBe(allocation.id);
  });

  test('a port may be static, and be the same inside', async () => {
    const ports = [{ label: 'same' }, { label: 'fixed', static: 8888, to: 9999 }];
    const allocation = await run('ports', {
      ports,
      tasks: [serves('$NOMAD_PORT_same'), { ...serves(9999), name: 'u' }],
    });
    const same = await allocation.hostPort('same');
    expect(await page(`${await allocation.address()}:${same}`)).toBe(allocation.id);
    expect(await page(`127.0.0.1:${same}`)).toBe(allocation.id);
    expect(await page('127.0.0.1:8888')).toBe(allocation.id);
  });

  test('two allocations reach each other and the host, and each has a loopback of its own', async () => {
    const [one, other] = await Promise.all(['one', 'other'].map((id) => run(id, { tasks: [serves(8080)] })));
    if (!one || !other) throw new Error('two jobs give two allocations');
    expect(await page(`${await one.address()}:8080`, other)).toBe(one.id);
    expect(await page(`${await other.address()}:8080`, one)).toBe(other.id);
    expect(await page('127.0.0.1:8080', one)).toBe(one.id);
    const host = createServer((_, response) => response.end('host')).listen(0, GATEWAY);
    onTestFinished(() => void host.close());
    await once(host, 'listening');
    expect(await page(`${GATEWAY}:${(host.address() as AddressInfo).port}`, one)).toBe('host');
  });

  test('an IPv6 subnet gives an IPv6 address too', async () => {
    const allocation = await run('ipv6', { tasks: [serves(8080)] });
    const address = await allocation.addressIpv6();
    expect(address).toMatch(/^fd00:6e72::/);
    expect(await page(`[${address}]:8080`)).toBe(allocation.id);
  });

  test('the API and the task are told of addresses and ports', async () => {
    const ports = [{ label: 'http', to: 8080 }, { label: 'same' }, { label: 'fixed', static: 8889, to: 9999 }];
    const allocation = await run('told', { ports, tasks: [script('env; exec sleep 1000')] });
    const [address, http, same] = [
      await allocation.address(),
      await allocation.hostPort('http'),
      await allocation.hostPort('same'),
    ];
    const { NetworkStatus, AllocatedResources, Resources, SharedResources, Job } = await read(current(), allocation);
    const network = {
      Mode: 'bridge',
      IP: '127.0.0.1',
      DynamicPorts: [
        { HostNetwork: 'default', Label: 'http', To: 8080, Value: http },
        { HostNetwork: 'default', Label: 'same', Value: same },
      ],
      ReservedPorts: [{ HostNetwork: 'default', Label: 'fixed', To: 9999, Value: 8889 }],
    };
    expect(NetworkStatus).toEqual({
      InterfaceName: 'eth0',
      Address: address,
      AddressIPv6: await allocation.addressIpv6(),
      DNS: null,
    });
    expect(AllocatedResources.Shared).toMatchObject({
      Networks: [network],
      Ports: [
        { HostIP: '127.0.0.1', Label: 'fixed', To: 9999, Value: 8889 },
        { HostIP: '127.0.0.1', Label: 'http', To: 8080, Value: http },
        { HostIP: '127.0.0.1', Label: 'same', Value: same },
      ],
    });
    expect(AllocatedResources.Shared.Networks).toEqual([network]);
    expect([Resources.Networks, SharedResources.Networks]).toEqual([[network], [network]]);
    expect(Job.TaskGroups[0]?.Networks).toEqual([
      {
        Mode: 'bridge',
        DynamicPorts: [
          { HostNetwork: 'default', Label: 'http', To: 8080 },
          { HostNetwork: 'default', Label: 'same' },
        ],
        ReservedPorts: [{ HostNetwork: 'default', Label: 'fixed', To: 9999, Value: 8889 }],
      },
    ]);
    await allocation.waitForLog('t', /^NOMAD_ALLOC_IP_http=/);
    const told = (await allocation.logs('t')).filter((line) => /^NOMAD_.*_http=/.test(line)).toSorted();
    expect(told).toEqual([
      `NOMAD_ADDR_http=127.0.0.1:${http}`,
      `NOMAD_ALLOC_ADDR_http=${address}:8080`,
      'NOMAD_ALLOC_INTERFACE_http=eth0',
      `NOMAD_ALLOC_IP_http=${address}`,
      'NOMAD_ALLOC_PORT_http=8080',
      `NOMAD_HOST_ADDR_http=127.0.0.1:${http}`,
      'NOMAD_HOST_IP_http=127.0.0.1',
      `NOMAD_HOST_PORT_http=${http}`,
      'NOMAD_IP_http=127.0.0.1',
      'NOMAD_PORT_http=8080',
    ]);
  });

  test('the network namespace is mounted at its path as Nomad does it', async () => {
    const allocation = await run('mounted', { tasks: [STAYS] });
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
    const file = `/run/netns/${allocation.id}`;
    expect(mounts.filter((line) => / \/netns \/run\/netns .* shared:\d+ /.test(line))).toHaveLength(1);
    // Twice, since /run is shared: in the mount of /run/netns and, covered by it, in /run itself.
    expect(mounts.filter((line) => line.includes(` ${file} `) && / - nsfs /.test(line))).toHaveLength(2);
    const inside = ['nsenter', `--net=${allocation.netns}`];
    expect(await mustRun([...inside, 'ip', '-brief', 'link'])).toMatch(/^lo +UNKNOWN .*\neth0@if\d+ +UP .*\n$/);
    expect(await mustRun([...inside, 'ip', 'route', 'show', 'default'])).toBe(`default via ${GATEWAY} dev eth0 \n`);
  });

  test('a poststop task still has the network', async () => {
    const after = script('ip -brief address show eth0', { name: 'after', lifecycle: { hook: 'poststop' } });
    const allocation = await run('poststop', { tasks: [STAYS, after] });
    const address = await allocation.address();
    await allocation.stop();
    expect(await allocation.waitForLog('after', /eth0/)).toContain(` ${address}/20 `);
  });

  test('a chain of the node makes the network of its mode', async () => {
    const allocation = await run('tuned', { networkMode: 'cni/tuned', tasks: [serves(80)] });
    const address = await allocation.address();
    expect(address).toMatch(/^10\.99\.0\./);
    expect(await page(`${address}:80`)).toBe(allocation.id);
    const sysctl = ['nsenter', `--net=${allocation.netns}`, 'cat', '/proc/sys/net/ipv4/ip_unprivileged_port_start'];
    expect(await mustRun(sysctl)).toBe('80\n');
    await allocation.gc();
    await expectNothingLeft();
  });

  test('what a network needs is seen, and nothing of it is left once its allocation has ended', async () => {
    const allocation = await run('ends', { ports: [{ label: 'http', to: 8080 }], tasks: [STAYS] });
    const address = await allocation.address();
    const seen = (await networkLeftovers(current())).join('\n');
    for (const trace of [
      `network namespace /run/netns/${allocation.id}`,
      `mount /run/netns/${allocation.id} of net:`,
      'link veth',
      `lease ${address}`,
      `lease ${await allocation.addressIpv6()}`,
      `iptables-save: -A CNI-FORWARD -s ${address}/32 `,
      'iptables-save: :CNI-DN-',
      'ip6tables-save: -A POSTROUTING ',
    ]) {
      expect(seen).toContain(trace);
    }
    await allocation.stop();
    await expectNothingLeft();
  });
}
