import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mustRun, runCommand } from '../command.ts';
import { onPath } from '../on-path.ts';

/** Enough for what a soak has at a time. */
const DISK_MIB = 300;
const SMALL_RUN = '1m';
const FEW_DESCRIPTORS = 160;

/** A kind of host. */
export interface Surroundings {
  /** Why it cannot be had here; undefined where it can. */
  readonly missing: () => string | undefined;
  /** Makes it, before anything else runs. @returns what takes it away */
  readonly make: (directories: { readonly dataDir: string; readonly agentDir: string }) => Promise<() => Promise<void>>;
  /** In front of the agent's command. */
  readonly launcher?: readonly string[];
  /** Kinds of allocations (LIVES) that cannot be there. */
  readonly without?: RegExp;
  /** What `status` warns of. */
  readonly warning?: RegExp;
}

const nothing = async () => undefined;
const here = () => undefined;

/** Kinds of hosts, the usual one first. */
export const SURROUNDINGS: Readonly<Record<string, Surroundings>> = {
  'a usual host': { missing: here, make: async () => nothing },
  'a data dir on ext4': onDisk('ext4'),
  'a data dir on xfs': onDisk('xfs'),
  'a data dir on btrfs': onDisk('btrfs'),
  'a data dir on overlay': {
    missing: here,
    make: async ({ dataDir }) => {
      const layers = ['lower', 'upper', 'work'].map((name) => `${dataDir}-${name}`);
      for (const directory of [dataDir, ...layers]) mkdirSync(directory, { recursive: true });
      const [lower, upper, work] = layers;
      await mount(['-t', 'overlay', '-o', `lowerdir=${lower},upperdir=${upper},workdir=${work}`, 'data', dataDir]);
      return () => unmount(dataDir);
    },
  },
  'a private /': {
    missing: here,
    make: async () => {
      await mustRun(['mount', '--make-rprivate', '/']);
      return async () => void (await mustRun(['mount', '--make-rshared', '/']));
    },
    // The namespace that Nomad mounts below /run/netns does not arrive at the users (netns_hidden).
    without: /network/,
  },
  'a /run with little room': {
    missing: here,
    make: async ({ agentDir }) => {
      mkdirSync(agentDir);
      await mount(['-t', 'tmpfs', '-o', `size=${SMALL_RUN},mode=755`, 'small', agentDir]);
      return () => unmount(agentDir);
    },
  },
  'few descriptors': {
    missing: here,
    make: async () => nothing,
    launcher: ['prlimit', `--nofile=${FEW_DESCRIPTORS}:${FEW_DESCRIPTORS}`],
  },
  'no inotify instance': {
    missing: here,
    make: takeInotifyInstances,
    warning: /cannot be watched .*raise fs\.inotify/,
  },
};

function onDisk(type: 'ext4' | 'xfs' | 'btrfs'): Surroundings {
  return {
    missing: () => (onPath(`mkfs.${type}`) === undefined ? `needs mkfs.${type} on PATH` : undefined),
    make: async ({ dataDir }) => {
      const image = join(mkdtempSync(join(tmpdir(), 'soak-')), 'disk');
      await mustRun(['truncate', '--size', `${DISK_MIB}M`, image]);
      await mustRun([`mkfs.${type}`, image]);
      const device = await attach(image);
      mkdirSync(dataDir, { recursive: true });
      await mount([device, dataDir]);
      return async () => {
        await unmount(dataDir);
        await mustRun(['losetup', '--detach', device]);
        await mustRun(['rm', image]);
      };
    },
  };
}

/** Every one that root may have (fs.inotify.max_user_instances), outside of the sandbox too. */
async function takeInotifyInstances(): Promise<() => Promise<void>> {
  const program =
    'import ctypes, sys\nlibc = ctypes.CDLL(None)\nwhile libc.inotify_init() >= 0: pass\nprint("taken", flush=True)\nsys.stdin.read()';
  const child = spawn('python3', ['-c', program], { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  return async () => {
    child.stdin.end();
    await once(child, 'exit');
  };
}

/** The sandbox has a /dev of its own, without the host's loop devices. */
async function attach(image: string): Promise<string> {
  await runCommand(['mknod', '/dev/loop-control', 'c', '10', '237']);
  for (let number = 0; number < 64; number++) {
    const device = `/dev/loop${number}`;
    await runCommand(['mknod', device, 'b', '7', String(number)]);
    if ((await runCommand(['losetup', device, image])).code === 0) return device;
  }
  throw new Error('no loop device is free');
}

async function mount(args: readonly string[]): Promise<void> {
  await mustRun(['mount', ...args]);
}

async function unmount(path: string): Promise<void> {
  await mustRun(['umount', '--lazy', path]);
}
