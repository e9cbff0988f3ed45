import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { pino } from 'pino';
import { systemClock } from '../../src/clock.ts';
import type { Handle } from '../../src/linux/handle.ts';
import { LOOPBACK_INDEX, readLinks, toMove } from '../../src/linux/net/link.ts';
import { NETLINK } from '../../src/linux/net/netlink-protocol.ts';
import { NetlinkSocket } from '../../src/linux/net/netlink-socket.ts';
import type { NetnsResource } from '../../src/resources/netns/netns.ts';
import { NetnsDirectory } from '../../src/resources/netns/netns-directory.ts';
import { TaskDirsWatch } from '../../src/watch/task-dirs.ts';
import { mustRun } from '../support/command.ts';
import { newNetnsResource, wantedNetns } from '../support/netns-resource.ts';
import { GroupNetworks } from '../support/nomad/group-network.ts';
import { createSandbox, IMAGE } from '../support/sandbox.ts';
import type { SandboxUser } from '../support/sandbox-user.ts';
import { type Summary, summarize } from './samples.ts';
import { TimedApi } from './timed-api.ts';

const ROUNDS = 20;
const AT_ONCE = 20;
/** Of a round: to be handed over, by shell, only moved, and handed over beside the driver's look-ups. */
const NETWORKS = 4;
/** In which spare namespaces are made anew. */
const BACKGROUND_MS = 500;
/**
 * From the mount of a task's secrets directory to the driver's inspect by name. With Nomad 2.0.5 it was 98 ms at least on two
 * cores that had much else to do, where a hand-over took 88 ms at least: half of that, for a machine that has not.
 */
const SET_UP_MS = 49;
/** Warm up: not counted. */
const FIRST = 2;

/** What handing over a netns costs, in one run; durations of one of each, milliseconds. */
export interface MigrationResults {
  /** CNI ADD of the network that is then handed over. */
  readonly cni: Summary;
  /** The bare move of the veth into another netns. */
  readonly move: Summary;
  readonly migration: Summary;
  /**
   * What is left of it for the create to wait: from the mount of a task's secrets directory on, SET_UP_MS later the driver's
   * look-ups, inspect by name and image inspect.
   */
  readonly left: Summary;
  /** The same done by nsenter, ip and mount. */
  readonly shell: Summary;
  /** All of them together, milliseconds. */
  readonly atOnce: { readonly count: number; readonly migrations: number; readonly moves: number };
}

/** Measures in a sandbox of its own, with a real rootless Podman and real CNI plugins; the kinds in turn, so that all see the same noise. */
export async function measureMigrations(): Promise<MigrationResults> {
  await using sandbox = await createSandbox({ users: ['alice'] });
  await using stage = new MigrationStage(join(sandbox.directory, 'migrations'), sandbox.user('alice'));
  using podman = new TimedApi(sandbox.user('alice').socket);
  const durations: Record<'cni' | 'move' | 'migration' | 'left' | 'shell', number[]> = {
    ...{ cni: [], move: [], migration: [], left: [], shell: [] },
  };
  for (let round = 0; round < ROUNDS + FIRST; round++) {
    const ids: string[] = [];
    for (let made = 0; made < NETWORKS; made++) {
      const started = performance.now();
      ids.push(await stage.make());
      durations.cni.push(performance.now() - started);
    }
    const [toMigrate = '', toShell = '', toMoveOnly = '', toMigrateBeside = ''] = ids;
    await stage.settle();
    durations.migration.push(await timed(() => stage.migrate(toMigrate)));
    durations.shell.push(await timed(() => stage.migrateByShell(toShell)));
    durations.move.push(await timed(await stage.bareMove(toMoveOnly)));
    await stage.settle();
    durations.left.push(await timeLeft(await stage.setUpTask(toMigrateBeside), lookUps(podman, toMigrateBeside)));
    for (const id of ids) await stage.destroy(id);
  }
  const counted = (all: number[], each = 1) => summarize(all.slice(FIRST * each));
  return {
    cni: counted(durations.cni, NETWORKS),
    move: counted(durations.move),
    migration: counted(durations.migration),
    left: counted(durations.left),
    shell: counted(durations.shell),
    atOnce: await measureAtOnce(stage),
  };
}

async function measureAtOnce(stage: MigrationStage): Promise<MigrationResults['atOnce']> {
  const make = async () => {
    const ids: string[] = [];
    while (ids.length < AT_ONCE) ids.push(await stage.make());
    return ids;
  };
  const toMigrate = await make();
  await stage.settle();
  const migrations = await timed(() => Promise.all(toMigrate.map((id) => stage.migrate(id))));
  for (const id of toMigrate) await stage.destroy(id);
  const toMoveOnly = await make();
  const prepared = await Promise.all(toMoveOnly.map((id) => stage.bareMove(id)));
  const moves = await timed(() => Promise.all(prepared.map((move) => move())));
  for (const id of toMoveOnly) await stage.destroy(id);
  return { count: AT_ONCE, migrations, moves };
}

/** What comes before the driver creates a container of an image that is there, once Nomad has begun to set a task up. */
async function lookUps(podman: TimedApi, id: string): Promise<void> {
  await setTimeout(SET_UP_MS);
  await podman.time('GET', `/v1.0.0/libpod/containers/main-${id}/json`, [404]);
  await podman.time('GET', `/v1.0.0/libpod/images/${encodeURIComponent(IMAGE)}/json`, [200]);
}

/** @returns milliseconds from the end of the second to the end of the first, 0 where that was before */
async function timeLeft({ first }: { first: Promise<unknown> }, second: Promise<unknown>): Promise<number> {
  const ends = [first, second].map((one) => one.then(() => performance.now()));
  const [firstEnd = 0, secondEnd = 0] = await Promise.all(ends);
  return Math.max(0, firstEnd - secondEnd);
}

async function timed(action: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await action();
  return performance.now() - started;
}

/** Networks of allocations, made as Nomad has them made, and the ways to hand them over. */
export class MigrationStage implements AsyncDisposable {
  readonly #base: string;
  readonly #user: SandboxUser;
  readonly #networks: GroupNetworks;
  readonly #resource: NetnsResource;
  readonly #directory = new NetnsDirectory();
  readonly #closing = new AsyncDisposableStack();

  constructor(base: string, user: SandboxUser) {
    this.#base = base;
    this.#user = user;
    this.#networks = new GroupNetworks({ subnetIpv6: 'fd00:6e72::/64' }, join(base, 'leases'));
    const { resource, namespaces } = newNetnsResource(base, user.uid, {
      socket: user.socket,
      clock: systemClock,
    });
    this.#resource = resource;
    this.#closing.defer(() => {
      resource.close();
      namespaces.close();
    });
  }

  async make(): Promise<string> {
    const id = randomUUID();
    await this.#networks.create(id, { id: 'bench', networkMode: 'bridge', tasks: [] }, []);
    await this.#resource.plan(wantedNetns(id, this.#user.uid, false)); // as the agent, when it first sees an allocation
    return id;
  }

  async destroy(id: string): Promise<void> {
    await this.#networks.destroy(id);
    for (const step of await this.#resource.plan({ kind: 'nothing', id, why: 'gone' })) await step.apply();
  }

  /** As between two allocations of the agent's: what it does in the background has been done. */
  async settle(): Promise<void> {
    await this.#resource.plan(wantedNetns(randomUUID(), this.#user.uid, false));
    await setTimeout(BACKGROUND_MS);
  }

  async migrate(id: string): Promise<void> {
    for (const step of await this.#resource.plan(wantedNetns(id, this.#user.uid))) await step.apply();
  }

  /** Sets a task up as Nomad does, upon which the network is handed over as by the agent. @returns the hand-over, under way */
  async setUpTask(id: string): Promise<{ first: Promise<void> }> {
    const directory = join(this.#base, 'alloc', id);
    mkdirSync(directory, { recursive: true });
    const { promise: first, resolve, reject } = Promise.withResolvers<void>();
    const migrate = async () => {
      const steps = await this.#resource.plan(wantedNetns(id, this.#user.uid, false));
      if (steps.length === 0) throw new Error('not known to be finished: this takes Linux 6.8');
      for (const step of steps) await step.apply();
    };
    const watch = new TaskDirsWatch({
      ...{ allocDir: join(this.#base, 'alloc'), others: [], once: true, log: pino({ enabled: false }) },
      onAllocation: () => void migrate().then(resolve, reject),
    });
    watch.follow(id, true);
    await setTimeout(BACKGROUND_MS); // it stands
    mkdirSync(join(directory, 't/secrets'), { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', join(directory, 't/secrets')]);
    this.#closing.defer(async () => {
      await watch.stop();
      execFileSync('umount', [join(directory, 't/secrets')]);
    });
    return { first };
  }

  migrateByShell(id: string): Promise<unknown> {
    const pause = this.#user.pausePid();
    if (pause === undefined) throw new Error('no pause process');
    return mustRun(['sh', '-ec', BY_SHELL, 'sh', id, String(pause)]);
  }

  /** Prepares the move of an allocation's links into another netns. @returns what makes it */
  async bareMove(id: string): Promise<() => Promise<void>> {
    const other = `other-${id.slice(0, 8)}`;
    await mustRun(['ip', 'netns', 'add', other]);
    const [from, to] = [this.#open(id), this.#open(other)];
    const socket = NetlinkSocket.open(from, NETLINK.ROUTE);
    const links = (await readLinks(socket)).filter(({ index }) => index !== LOOPBACK_INDEX);
    this.#closing.defer(async () => {
      for (const one of [socket, from, to]) one[Symbol.dispose]();
      await mustRun(['ip', 'netns', 'delete', other]);
    });
    return () => socket.demand(links.map((link) => toMove(link, to)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#closing.disposeAsync();
    await mustRun(['rm', '-r', this.#base]);
  }

  #open(name: string): Handle {
    const netns = this.#directory.open(name);
    if (!netns) throw new Error(`no network namespace ${name}`);
    return netns;
  }
}

/** By hand: a netns in the user namespace of a process, addresses and routes saved, the link moved, all restored, the mount replaced. */
const BY_SHELL = `
id=$1 pause=$2 new=/run/netns/new-$1
nsenter --user --target "$pause" unshare --net sleep 60 &
child=$!
until [ "$(readlink /proc/$child/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done
touch "$new"
mount --bind /proc/$child/ns/net "$new"
kill $child
ip -netns "$id" -4 address save >/tmp/a4.$id; ip -netns "$id" -6 address save >/tmp/a6.$id
ip -netns "$id" -4 route save >/tmp/r4.$id; ip -netns "$id" -6 route save >/tmp/r6.$id
ip -netns "$id" link set eth0 netns "new-$id"
ip -netns "new-$id" link set lo up
ip -netns "new-$id" link set eth0 up
ip -netns "new-$id" address restore <"/tmp/a4.$id" || true
ip -netns "new-$id" address restore <"/tmp/a6.$id" || true
ip -netns "new-$id" route restore <"/tmp/r4.$id" || true
ip -netns "new-$id" route restore <"/tmp/r6.$id" || true
umount --lazy "/run/netns/$id"
mount --bind "$new" "/run/netns/$id"
umount --lazy "$new"
rm "$new"
`;
