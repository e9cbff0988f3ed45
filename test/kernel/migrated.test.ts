import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MigratedNetns } from '../../src/resources/netns/migrated.ts';
import { MigrationJournal } from '../../src/resources/netns/migration-journal.ts';
import { NetnsDirectory } from '../../src/resources/netns/netns-directory.ts';
import { runCommand } from '../support/command.ts';
import { mountsBelow } from '../support/leftovers.ts';
import { wantedNetns } from '../support/netns-resource.ts';
import { ALICE, ID, NETNS_FILE, NetnsStage } from '../support/netns-stage.ts';
import { requires } from '../support/requires.ts';
import { until } from '../support/until.ts';

requires('root', 'sandbox')('a network namespace that lies where Nomad had put its own', () => {
  let stage: NetnsStage;
  let migratedNetns: MigratedNetns;

  beforeEach(async () => {
    stage = await NetnsStage.set();
    stage.makeBridged();
    migratedNetns = new MigratedNetns(new NetnsDirectory(), new MigrationJournal(join(stage.base, 'state')));
  });
  afterEach(() => stage.strike());

  async function handOver(): Promise<void> {
    for (const step of await stage.newResource().plan(wantedNetns(ID, ALICE))) await step.apply();
  }

  test("is root's until it is handed over, and then its user's", async () => {
    expect(migratedNetns.ids()).toEqual([ID]);
    expect(migratedNetns.ownerOf(ID)).toBeUndefined();
    await handOver();
    expect(migratedNetns.ownerOf(ID)).toBe(ALICE);
    expect(migratedNetns.isBeingMigrated(ID)).toBe(false);
    expect(await migratedNetns.hasLinks(ID)).toBe(true);
  });

  test("is its user's when her Podman is no more", async () => {
    await handOver();
    await stage.alice.stop();
    expect(migratedNetns.ownerOf(ID)).toBe(ALICE);
  });

  test("is not removed where it is root's", () => {
    migratedNetns.remove(ID);
    expect(existsSync(NETNS_FILE)).toBe(true);
    expect(mountsBelow(NETNS_FILE)).not.toEqual([]);
  });

  test("is removed where it is a user's, and the other end of its link goes with it", async () => {
    await handOver();
    migratedNetns.remove(ID);
    expect(existsSync(NETNS_FILE)).toBe(false);
    expect(mountsBelow(NETNS_FILE)).toEqual([]);
    await until(
      'the other end is gone',
      async () => !(await runCommand(['ip', '-brief', 'link'])).stdout.includes('veth-a'),
    );
    migratedNetns.remove(ID);
    expect(migratedNetns.ids()).toEqual([]);
  });

  test('is removed although somebody is in it', async () => {
    await handOver();
    const inside = spawn('ip', ['netns', 'exec', ID, 'sleep', '1000']);
    await until('somebody is in it', async () => (await runCommand(['ip', 'netns', 'pids', ID])).stdout !== '');
    migratedNetns.remove(ID);
    expect(existsSync(NETNS_FILE)).toBe(false);
    inside.kill('SIGKILL');
    await once(inside, 'exit');
  });
});
