import { expect, onTestFinished, test } from 'vitest';
import type { Environment } from '../support/environment.ts';
import type { AllocationUnderTest, NomadUnderTest } from '../support/nomad-under-test.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { until } from '../support/until.ts';
import { driverFailure, jobOf, runJob, shell } from './cases.ts';

const STAYS = 'echo up; exec sleep 1000';
/** A task that has said that it pulls is about to do it. */
const ABOUT_TO_MS = 500;

/** What several users see of an image that none of them has. */
export function imageCases(environment: () => Environment<NomadUnderTest>): void {
  async function registryOfTest(): Promise<Registry> {
    const registry = await startRegistry();
    onTestFinished(() => registry[Symbol.asyncDispose]());
    return registry;
  }

  function run(user: string, id: string, image: string): Promise<AllocationUnderTest> {
    return runJob(environment().nomad, jobOf(user, id, shell('t', user, STAYS, { image, tlsVerify: false })));
  }

  async function isPulling(allocation: AllocationUnderTest): Promise<boolean> {
    return (await allocation.events('t')).some(({ DisplayMessage }) => DisplayMessage.startsWith('Pulling image'));
  }

  test('two users who start one new image at the same time both get it, by a pull of their own', async () => {
    const registry = await registryOfTest();
    const release = registry.hold();
    const image = registry.reference('both');
    const allocations = [await run('alice', 'both-alice', image), await run('bob', 'both-bob', image)];
    for (const allocation of allocations) await until('it pulls', () => isPulling(allocation));
    await new Promise((resolve) => setTimeout(resolve, ABOUT_TO_MS));
    // The driver has made one pull of the two.
    expect(registry.pulled).toEqual(['both']);
    release();
    for (const allocation of allocations) await allocation.waitForLog('t', 'up');
    expect(registry.pulled).toEqual(['both', 'both']);
  });

  test("a user whose Podman is down while another user pulls the same image leaves that one's start alone", async () => {
    const { sandbox } = environment();
    const registry = await registryOfTest();
    const image = registry.reference('one');
    const alice = sandbox.user('alice');
    await alice.stopService();
    onTestFinished(() => (alice.isServed ? undefined : alice.startService()));
    const down = await run('alice', 'one-alice', image);
    const other = await run('bob', 'one-bob', image);
    await other.waitForLog('t', 'up');
    expect(await driverFailure(down, 't')).toMatch(/systemctl --user enable --now podman\.socket/);
    expect(registry.pulled).toEqual(['one']);
  });

  test('a user whose Podman comes late pulls the image that another user has pulled meanwhile', async () => {
    const { sandbox } = environment();
    const registry = await registryOfTest();
    const image = registry.reference('late');
    const alice = sandbox.user('alice');
    await alice.stopService();
    onTestFinished(() => (alice.isServed ? undefined : alice.startService()));
    const late = await run('alice', 'late-alice', image);
    const other = await run('bob', 'late-bob', image);
    await other.waitForLog('t', 'up');
    await alice.startService();
    await late.waitForLog('t', 'up');
    expect(registry.pulled).toEqual(['late', 'late']);
  });

  test("a user whose Podman goes in the middle of the driver's one pull takes no other user's start with it", async () => {
    const { sandbox } = environment();
    const registry = await registryOfTest();
    const release = registry.hold();
    const image = registry.reference('broken-off');
    const alice = sandbox.user('alice');
    const gone = await run('alice', 'broken-off-alice', image);
    await until('her pull is under way', () => registry.pulled.length > 0);
    const other = await run('bob', 'broken-off-bob', image);
    await until('his joins it', () => isPulling(other));
    await new Promise((resolve) => setTimeout(resolve, ABOUT_TO_MS));
    await alice.stopService('SIGKILL');
    onTestFinished(() => (alice.isServed ? undefined : alice.startService()));
    release();
    await other.waitForLog('t', 'up');
    expect(await driverFailure(gone, 't')).toMatch(/systemctl --user enable --now podman\.socket/);
  });
}
