import { dirname } from 'node:path';
import * as z from 'zod';
import { makeDirectories } from '../linux/directory.ts';
import { readTextIfThere } from '../linux/read-file.ts';
import { removeFile, writeWhole } from '../linux/write-file.ts';
import type { Change } from '../model/setup.ts';
import { parseJson } from '../parse.ts';

/** Beside what the unit keeps over a reboot, StateDirectory= of deploy/systemd. */
const RECORD = '/var/lib/nomad-rootless/setup.json';
const MOST_BYTES = 16 * 1024 * 1024;

const id = z.int().nonnegative();
const Changes = z.array(
  z.discriminatedUnion('kind', [
    z.object({
      kind: z.literal('subordinate_ids'),
      user: z.string(),
      uid: id,
      of: z.array(z.enum(['uid', 'gid'])),
      first: id,
      last: id,
    }),
    z.object({ kind: z.literal('linger'), user: z.string(), uid: id }),
    z.object({ kind: z.literal('podman_socket'), user: z.string() }),
    z.object({ kind: z.literal('config'), user: z.string() }),
    z.object({ kind: z.literal('unit'), keepsGates: z.boolean() }),
  ]),
);

/** What setup has changed on this host, in the order in which it did. @throws RefusedError, ParseError */
export function readRecord(): Change[] {
  const text = readTextIfThere(RECORD, MOST_BYTES);
  return text === undefined ? [] : parseJson(Changes, text, RECORD);
}

/** @throws an Error of node:fs */
export function writeRecord(changes: readonly Change[]): void {
  if (changes.length === 0) {
    removeFile(RECORD);
    return;
  }
  makeDirectories(dirname(RECORD), 0o700);
  writeWhole(RECORD, `${JSON.stringify(changes, null, 2)}\n`);
}
