import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { mountsBelow } from '../support/leftovers.ts';
import { RealNomad } from '../support/real-nomad.ts';
import { requires } from '../support/requires.ts';
import { createSandbox, type Sandbox } from '../support/sandbox.ts';
import { until } from '../support/until.ts';
import { jobOf, shell } from './cases.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const JOB = fileURLToPath(new URL('../../deploy/nomad/nomad-rootless.nomad.hcl', import.meta.url));
const POLICY = fileURLToPath(new URL('../../deploy/nomad/nomad-rootless.policy.hcl', import.meta.url));
const PROGRAM = '/usr/bin/nomad-rootless';

/** Where the gates are by default, for the users that the job's template names. */
const SOCKETS = {
  alice: '/run/nomad-rootless/gate/alice.sock',
  bob: '/run/nomad-rootless/gate/bob.sock',
};
const METRICS = 'http://127.0.0.1:4656';
/** Between two garbage collections of Nomad's process, since each of them stops it for a moment. */
const COLLECTION_MS = 100;

requires(
  'root',
  'sandbox',
  'podman',
  'nomad',
)('as a system job of a real Nomad with ACLs', () => {
  let sandbox: Sandbox;
  let nomad: RealNomad;

  beforeAll(async () => {
    sandbox = await createSandbox();
    nomad = new RealNomad({ sandbox, dataDir: join(sandbox.directory, 'nomad'), sockets: SOCKETS, acl: true });
    await nomad.start();
  });
  afterAll(async () => {
    try {
      await nomad?.stop();
    } finally {
      await sandbox?.dispose();
    }
  });

  const succeed = async (args: readonly string[], input?: string) => {
    const { code, stdout, stderr } = await nomad.command(args, input);
    if (code !== 0) throw new Error(`nomad ${args.join(' ')}: ${stderr}${stdout}`);
    return stdout;
  };

  test('the policy of the deployment is taken, and its job is valid', async () => {
    const target = ['-namespace', 'default', '-job', 'nomad-rootless', 'nomad-rootless', POLICY];
    expect(await succeed(['acl', 'policy', 'apply', ...target])).toContain('Successfully wrote "nomad-rootless"');
    expect((await succeed(['job', 'validate', JOB])).trim()).toBe('Job validation successful');
  });

  test('the agent that it starts attaches to Nomad by its workload identity, and a task runs', async () => {
    const job = readFileSync(JOB, 'utf8');
    expect(job).toContain(PROGRAM);
    await succeed(['job', 'run', '-detach', '-'], job.replaceAll(`"${PROGRAM}"`, JSON.stringify(program(sandbox))));
    const agent = await nomad.allocationOf('nomad-rootless');
    await agent.waitFor('running');
    await until('the agent is ready', async () => (await fetch(`${METRICS}/readyz`)).ok);
    await nomad.waitForDriver();
    const isChecked = async () => /"Status": *"success"/.test(await succeed(['alloc', 'checks', '-json', agent.id]));
    await until("Nomad's check finds the agent ready", isChecked, 30_000);

    const script = 'echo hello >/alloc/data/x && cat /alloc/data/x; exec sleep 1000';
    const allocation = await nomad.runJob(jobOf('alice', 'hello', shell('t', 'alice', script)));
    await allocation.waitForLog('t', 'hello');
    expect(await (await fetch(`${METRICS}/metrics`)).text()).toContain(
      'nomad_rootless_allocations{user="alice",state="ready"} 1',
    );
    await allocation.gc();
    expect(mountsBelow(allocation.directory)).toEqual([]);

    await agent.stop();
    // Nomad hijacks the connection of an event stream (command/agent/event_endpoint.go). So it sees that the reader is gone
    // only when it next writes, 30 s later at most, and even then leaves it to Go's garbage collector to close it. Until then
    // the open socket keeps it from unmounting the task's secrets/, which it tries only once.
    const socket = `${agent.directory}/agent/secrets/api.sock`;
    const isClosed = async () => {
      await nomad.collectGarbage();
      await setTimeout(COLLECTION_MS);
      return !readFileSync('/proc/net/unix', 'utf8').includes(socket);
    };
    await until('Nomad has closed the task API', isClosed, 40_000);
    await agent.gc();
  }, 150_000);
});

/** What stands for the installed program: nothing is installed on the machine that runs the tests. */
function program(sandbox: Sandbox): string {
  const file = join(sandbox.directory, 'nomad-rootless');
  writeFileSync(file, `#!/bin/sh\nexec '${process.execPath}' '${MAIN}' "$@"\n`);
  chmodSync(file, 0o755);
  return file;
}
