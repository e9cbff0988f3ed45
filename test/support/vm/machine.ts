import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';

/** What a machine consists of. */
export interface MachineOptions {
  /** Where build-system.sh has put `kernel`, `initramfs` and `system.img`. */
  readonly cache: string;
  /** The second disk's image. */
  readonly projectDisk: string;
  /** Where the file `kernel.log` and what the machine writes to its disks goes. */
  readonly directory: string;
  /** Called with each line that is written to the second serial line. */
  readonly onLine: (line: string) => void;
  /** When aborted, the machine is ended. */
  readonly signal: AbortSignal;
}

/** Nehalem, as V8 crashed on the processor that has everything, `max`. */
const MACHINE = '-machine q35 -accel tcg,thread=multi,tb-size=1024 -cpu Nehalem -m 6G -smp 2 -no-reboot';
const DEVICES = '-nic none -display none -monitor none -chardev stdio,id=lines,signal=off';
const KERNEL_PARAMETERS = 'console=ttyS0 loglevel=6 mitigations=off nokaslr panic=-1';

/**
 * Runs an emulated machine without a network until it is switched off or `signal` is aborted. The disks stay as they are.
 * It ends with this process, however that ends.
 * @returns how QEMU ended, '' where the machine was switched off
 */
export async function runMachine({ cache, projectDisk, directory, onLine, signal }: MachineOptions): Promise<string> {
  const disks = [join(cache, 'system.img'), projectDisk];
  const qemu = [
    'qemu-system-x86_64',
    ...`${MACHINE} ${DEVICES}`.split(' '),
    ...['-kernel', join(cache, 'kernel'), '-initrd', join(cache, 'initramfs'), '-append', KERNEL_PARAMETERS],
    ...disks.flatMap((file) => ['-drive', `file=${file},format=raw,if=virtio,snapshot=on,cache=unsafe`]),
    ...['-serial', `file:${join(directory, 'kernel.log')}`, '-serial', 'chardev:lines'],
  ];
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'nice', '-n', '10', ...qemu], {
    stdio: ['ignore', 'pipe', 'pipe'],
    // Where QEMU keeps what is written to the disks.
    env: { ...process.env, TMPDIR: directory },
    signal,
    killSignal: 'SIGKILL',
  });
  const errors: string[] = [];
  child.on('error', ({ message, cause }) => errors.push(cause instanceof Error ? cause.message : message));
  const read = [eachLine(child.stdout, onLine), eachLine(child.stderr, (line) => errors.push(line))];
  const [code, killedBy]: [number | null, string | null] = await new Promise((resolve) => {
    child.on('close', (...end) => resolve(end));
  });
  await Promise.all(read);
  return code === 0 ? '' : [`QEMU ended with ${code ?? killedBy}`, ...errors].join(': ');
}

async function eachLine(input: Readable, take: (line: string) => void): Promise<void> {
  const lines = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY });
  lines.on('line', take);
  await once(lines, 'close');
}
