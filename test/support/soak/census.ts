import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { leftovers } from '../../e2e/cases.ts';
import type { Environment } from '../environment.ts';
import { networkLeftovers } from '../network-leftovers.ts';
import type { StandInNomad } from '../stand-in-nomad.ts';

/** What is there when all allocations are gone. */
export interface Census {
  /** In words, sorted: mounts, ACLs, networks, files, containers and processes. */
  readonly things: readonly string[];
  /** Of the agent. */
  readonly descriptors: number;
  readonly rssMib: number;
}

/** Counts what is there. Ids and pids are left out: it is compared with that of another run. */
export async function takeCensus(environment: Environment<StandInNomad>): Promise<Census> {
  const { sandbox, nomad, agent } = environment;
  const containers = await Promise.all(
    sandbox.users.map(async (user) => {
      const names = await user.podman(['ps', '--all', '--format', '{{.Names}} {{.State}}']);
      return lines(names).map((line) => `container ${line} of ${user.name}`);
    }),
  );
  const things = [
    // Without what is the sandbox's own: its directory, its namespaces and processes.
    ...(await leftovers(environment)).map((left) => left.replace(/ in mnt:.*/, '').replaceAll(sandbox.directory, '')),
    ...(await networkLeftovers(nomad)),
    ...containers.flat(),
    ...filesBelow(join(sandbox.directory, 'agent')).map((file) => `file ${file}`),
    ...readdirSync(nomad.allocDir).map((name) => `allocation ${name}`),
    ...processes(environment),
  ];
  return {
    things: [...new Set(things)].sort(),
    descriptors: readdirSync(`/proc/${agent.pid}/fd`).length,
    rssMib: Number(/^VmRSS:\s*(\d+) kB/m.exec(readFileSync(`/proc/${agent.pid}/status`, 'utf8'))?.[1]) / 1024,
  };
}

/**
 * Children of the agent. Processes of the users are passed over: a Podman whose pause process was killed loses sight of what its
 * containers run in, and leaves it running.
 */
function processes({ agent }: Environment<StandInNomad>): string[] {
  return readdirSync('/proc').flatMap((name) => {
    const status = statusOf(name);
    return status?.parent === agent.pid ? [`process ${status.comm} of the agent`] : [];
  });
}

function statusOf(pid: string): { comm: string; parent: number } | undefined {
  if (!/^\d+$/.test(pid)) return undefined;
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const field = (key: string) => new RegExp(`^${key}:\\s*(\\S+)`, 'm').exec(status)?.[1] ?? '';
    return { comm: field('Name'), parent: Number(field('PPid')) };
  } catch {
    // It has ended meanwhile.
    return undefined;
  }
}

function filesBelow(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' });
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}
