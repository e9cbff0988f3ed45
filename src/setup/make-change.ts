import { dirname } from 'node:path';
import { withoutUser, withUser } from '../config/edit-users.ts';
import { runAdminCommand } from '../linux/admin-command.ts';
import { canonicalPathIfThere, makeDirectories } from '../linux/directory.ts';
import { openAbsoluteIfThere } from '../linux/handle.ts';
import { O } from '../linux/libc.ts';
import { readTextIfThere } from '../linux/read-file.ts';
import { stat } from '../linux/stat.ts';
import { writeWhole } from '../linux/write-file.ts';
import { type Change, commandsAgainst, commandsFor } from '../model/setup.ts';

const MOST_BYTES = 1024 * 1024;
const PERMISSIONS = 0o777;

/** Makes a change. @param file the configuration file @throws as runAdminCommand; RefusedError, an Error of node:fs */
export async function make(change: Change, file: string): Promise<void> {
  for (const command of commandsFor(change)) await runAdminCommand(command);
  if (change.kind === 'config') edit(file, (text) => withUser(text, change.user));
}

/** Takes a change back. @throws as make */
export async function takeBack(change: Change, file: string): Promise<void> {
  for (const command of commandsAgainst(change)) await runAdminCommand(command);
  if (change.kind === 'config') edit(file, (text) => withoutUser(text, change.user));
}

function edit(file: string, change: (text: string) => string): void {
  const path = canonicalPathIfThere(file);
  makeDirectories(dirname(path), 0o755);
  using opened = openAbsoluteIfThere(path, O.PATH | O.NOFOLLOW);
  const mode = opened ? stat(opened).mode & PERMISSIONS : 0o600;
  writeWhole(path, change(readTextIfThere(path, MOST_BYTES) ?? ''), mode);
}
