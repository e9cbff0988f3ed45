import { readFileSync } from 'node:fs';

/** Capabilities that the agent needs, by their numbers in include/uapi/linux/capability.h; deploy/systemd says what for. */
const NEEDED = {
  CAP_CHOWN: 0,
  CAP_DAC_OVERRIDE: 1,
  CAP_FOWNER: 3,
  CAP_KILL: 5,
  CAP_SETGID: 6,
  CAP_SETUID: 7,
  CAP_NET_ADMIN: 12,
  CAP_NET_RAW: 13,
  CAP_SYS_CHROOT: 18,
  CAP_SYS_PTRACE: 19,
  CAP_SYS_ADMIN: 21,
} as const;

/** The ones of these that this process does not have, proc_pid_status(5). @throws an Error of node:fs */
export function missingCapabilities(): string[] {
  return missingIn(readFileSync('/proc/self/status', 'utf8'));
}

/** The ones that are not in CapEff of such a text. */
export function missingIn(status: string): string[] {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  return Object.entries(NEEDED).flatMap(([name, number]) => ((effective >> BigInt(number)) & 1n ? [] : [name]));
}
