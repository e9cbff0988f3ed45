import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { runCommand } from './command.ts';

/** A mount that somebody sees: in which mount namespace, by one process of it. */
export interface SeenMount {
  /** The namespace as /proc/PID/ns/mnt names it: `mnt:[4026531841]`. */
  readonly namespace: string;
  readonly pid: number;
  readonly mountPoint: string;
  /** The directory of the file system that is mounted; ends in `//deleted` where it is gone. */
  readonly root: string;
  readonly fsType: string;
}

/** All mounts at or below a path, in every mount namespace of every living process, each namespace once. */
export function mountsBelow(path: string): SeenMount[] {
  const seen = new Set<string>();
  return processes().flatMap((pid) => {
    try {
      const namespace = readlinkSync(`/proc/${pid}/ns/mnt`);
      if (seen.has(namespace)) return [];
      const mounts = mountsSeenBy(pid, namespace, path);
      seen.add(namespace);
      return mounts;
    } catch (error) {
      // A process that ends meanwhile, or a zombie.
      if (isGone(error)) return [];
      throw error;
    }
  });
}

/** The mounts at or below a path in this process's own mount namespace, in the order in which they were made. */
export function mountsOfThisNamespaceBelow(path: string): SeenMount[] {
  return mountsSeenBy(process.pid, readlinkSync('/proc/self/ns/mnt'), path);
}

function mountsSeenBy(pid: number, namespace: string, path: string): SeenMount[] {
  const lines = readFileSync(`/proc/${pid}/mountinfo`, 'utf8').trimEnd().split('\n');
  return lines.flatMap((line) => {
    const [before = '', after = ''] = line.split(' - ');
    const [, , , root = '', mountPoint = ''] = before.split(' ').map(unescapeOctal);
    if (mountPoint !== path && !mountPoint.startsWith(`${path}/`)) return [];
    return [{ namespace, pid, mountPoint, root, fsType: after.split(' ')[0] ?? '' }];
  });
}

/** Paths at or below a directory that carry an access or default ACL beyond their mode, with the ACL's named entries. */
export async function aclsBelow(directory: string): Promise<string[]> {
  const command = ['getfacl', '--recursive', '--physical', '--skip-base', '--numeric', '--absolute-names', directory];
  const { code, stdout, stderr } = await runCommand(command);
  if (code !== 0 && !stderr.includes('No such file')) throw new Error(`getfacl: ${stderr}`);
  return stdout
    .split('\n\n')
    .filter((block) => block.trim() !== '')
    .map((block) => {
      const path = /^# file: (.*)$/m.exec(block)?.[1] ?? '?';
      const named = block.split('\n').filter((line) => /^(default:)?(user|group):\d+:/.test(line));
      return `${path} ${named.join(',')}`;
    });
}

/** Sockets below a directory; none where the directory is missing. */
export function socketsBelow(directory: string): string[] {
  return entriesBelow(directory).filter((path) => lstatSync(path, { throwIfNoEntry: false })?.isSocket());
}

/** Named network namespaces of the host: the files in /run/netns. */
export function netnsFiles(): string[] {
  return entriesBelow('/run/netns');
}

function processes(): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid));
}

function entriesBelow(directory: string): string[] {
  try {
    return readdirSync(directory, { recursive: true, encoding: 'utf8' }).map((name) => join(directory, name));
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

/** The octal escapes of mountinfo, proc_pid_mountinfo(5). */
function unescapeOctal(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

function isGone(error: unknown): boolean {
  return error instanceof Error && 'code' in error && ['ENOENT', 'ESRCH', 'EINVAL'].includes(String(error.code));
}
