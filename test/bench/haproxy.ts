import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onPath } from '../support/on-path.ts';
import { until } from '../support/until.ts';
import { accepts } from './accepts.ts';
import { MeasuredProcess } from './measured-process.ts';

/** `tcp` passes bytes; `http` reads requests and answers. */
export type HaproxyMode = 'tcp' | 'http';

/** A haproxy before a socket. */
export interface Haproxy {
  readonly process: MeasuredProcess;
  /** Where it listens. */
  readonly socket: string;
}

/** @returns undefined where this machine has no haproxy: Debian's package of that name */
export async function startHaproxy(directory: string, mode: HaproxyMode, server: string): Promise<Haproxy | undefined> {
  const program = onPath('haproxy');
  if (program === undefined) return undefined;
  const socket = join(directory, `haproxy-${mode}.sock`);
  const file = join(directory, `haproxy-${mode}.cfg`);
  writeFileSync(
    file,
    `defaults
  mode ${mode}
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen podman
  bind unix@${socket} mode 600
  server podman unix@${server}
`,
  );
  rmSync(socket, { force: true });
  const process = new MeasuredProcess([program, '-db', '-f', file], join(directory, `haproxy-${mode}.log`));
  await until('haproxy listens', () => accepts(socket));
  return { process, socket };
}
