import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { mustRun } from '../support/command.ts';
import { networkLeftovers } from '../support/network-leftovers.ts';
import { AllocDir } from '../support/nomad/alloc-dir.ts';
import { createBody } from '../support/nomad/container-create.ts';
import { LogFifo } from '../support/nomad/log-fifo.ts';
import { netnsPath } from '../support/nomad/netns.ts';
import { recorded } from '../support/nomad/recorded.ts';
import { requires } from '../support/requires.ts';
import { createSandbox, type Sandbox } from '../support/sandbox.ts';
import { type StandInNomad, startStandInNomad } from '../support/stand-in-nomad.ts';
import { driverFailure, jobOf, runJob, shell } from './cases.ts';
import { NETWORK, networkCases, script, TUNED } from './network-cases.ts';

const NETWORK_FAILURE =
  /^Setup Failure: failed to setup alloc: pre-run hook "network" failed: failed to configure networking for alloc: failed to configure network: plugin type="tuning" failed \(add\): .*no such file/;

const STAYS = script('exec sleep 1000');

requires(
  'root',
  'sandbox',
  'cni',
)("the stand-in's networks of groups", () => {
  let sandbox: Sandbox;
  let nomad: StandInNomad;

  beforeAll(async () => {
    sandbox = await createSandbox({ users: [] });
    const broken = {
      ...TUNED,
      name: 'broken',
      plugins: [...TUNED.plugins, { type: 'tuning', sysctl: { 'net.no': '1' } }],
    };
    const network = { ...NETWORK, chains: [...NETWORK.chains, broken] };
    nomad = await startStandInNomad({ dataDir: join(sandbox.directory, 'nomad'), sockets: {}, network });
  });
  afterAll(async () => {
    await nomad?.stop();
    await sandbox?.dispose();
  });

  networkCases(() => nomad);

  test('CNI CHECK passes, and says what is missing', async () => {
    const allocation = await runJob(nomad, { id: 'checked', networkMode: 'bridge', tasks: [STAYS] });
    await allocation.waitFor('running');
    await nomad.check(allocation.id);
    await mustRun(['ip', '-netns', allocation.id, 'route', 'delete', 'default']);
    await expect(nomad.check(allocation.id)).rejects.toThrow(/plugin type="bridge" failed \(check\): .*0\.0\.0\.0/);
  });

  test('mode none is a network namespace with nothing but a loopback that is down', async () => {
    const allocation = await runJob(nomad, { id: 'none', networkMode: 'none', tasks: [STAYS] });
    await allocation.waitFor('running');
    expect(await mustRun(['ip', '-netns', allocation.id, '-brief', 'link'])).toMatch(/^lo +DOWN .*\n$/);
    await allocation.stop();
    expect(await networkLeftovers(nomad)).toEqual([]);
  });

  test("a network that cannot be made fails the allocation, in Nomad's words, and leaves nothing", async () => {
    const allocation = await runJob(nomad, { id: 'broken', networkMode: 'cni/broken', tasks: [STAYS] });
    await allocation.waitFor('failed');
    const events = (await allocation.events('t')).map(({ Type, DisplayMessage }) => `${Type}: ${DisplayMessage}`);
    expect(events).toEqual(['Received: Task received by client', expect.stringMatching(NETWORK_FAILURE)]);
    await allocation.stop();
    expect(await networkLeftovers(nomad)).toEqual([]);
  });

  test("the driver's create is the recorded one", () => {
    const wanted = recorded.container();
    const id = wanted.env['NOMAD_ALLOC_ID'] ?? '';
    const allocDir = new AllocDir('/var/lib/nomad/alloc', id);
    const [command = '', ...args] = wanted.command;
    const task = { name: 't', command, args };
    const config = {
      allocationId: id,
      job: { id: 'k2', meta: { podman_user: 'alice' }, networkMode: 'bridge', tasks: [task] },
      task,
      allocDir,
      stdout: new LogFifo(allocDir.logs, 't', 'stdout'),
      stderr: new LogFifo(allocDir.logs, 't', 'stderr'),
      network: {
        netns: netnsPath(id),
        status: { InterfaceName: 'eth0', Address: '172.26.64.7', AddressIPv6: '', DNS: null },
      },
      ports: [{ Label: 'http', To: 8080, Value: 31154, HostIP: '192.0.2.2' }],
      sourceOf: String,
    };
    const directory = join(allocDir.directory, 't');
    const taskDir = {
      directory,
      local: join(directory, 'local'),
      secrets: join(directory, 'secrets'),
      private: join(directory, 'private'),
    };
    expect(createBody(config, taskDir, wanted.image, '4.3.1')).toEqual(wanted);
  });

  test('a mode that the node does not have is refused', () => {
    expect(() => nomad.runJob({ id: 'unknown', networkMode: 'cni/unknown', tasks: [STAYS] })).toThrow(
      'no chain for a network of mode cni/unknown',
    );
  });
});

requires(
  'root',
  'sandbox',
  'cni',
  'podman',
)("rootless Podman in the stand-in's network, without an agent", () => {
  // Where crun's child, which was refused, has ended before it was spoken to, crun says that instead.
  test("fails as it does with a real Nomad: the network namespace is not its user's", { retry: 5 }, async () => {
    await using sandbox = await createSandbox({ users: ['alice'] });
    const alice = sandbox.user('alice');
    await using nomad = await startStandInNomad({
      dataDir: join(sandbox.directory, 'nomad'),
      sockets: { alice: alice.socket },
    });
    await mustRun(['setfacl', '--modify', `u:${alice.uid}:--x`, nomad.dataDir]);
    const job = jobOf('alice', 'setns', shell('t', 'alice', 'true'));
    const allocation = nomad.runJob({ ...job, networkMode: 'bridge' });
    expect(await driverFailure(allocation, 't')).toContain(
      `crun: cannot setns \`/var/run/netns/${allocation.id}\`: Operation not permitted`,
    );
  });
});
