import { join } from 'node:path';
import { entriesOf } from '../../linux/directory.ts';
import { type Handle, openAbsoluteIfThere } from '../../linux/handle.ts';
import { O } from '../../linux/libc.ts';
import { removeDirectory, removeFileFrom, unmountIn } from '../../linux/mount.ts';
import type { Step } from '../resource.ts';

/** Where versions before 0.1.0 kept a tmpfs for each user, mounted on the host. */
const DIRECTORY = 'views';

/**
 * The steps against what such a version left in the state dir. What its mounts show to containers that run stays with these.
 */
export function planFormerViews(stateDir: string): Step[] {
  using views = open(stateDir);
  if (!views) return [];
  const what = `removed ${views.path}, which an earlier version made`;
  return [{ kind: 'view', what, removes: true, apply: () => remove(stateDir) }];
}

function remove(stateDir: string): void {
  using parent = openAbsoluteIfThere(stateDir);
  using views = open(stateDir);
  if (!parent || !views) return;
  for (const name of entriesOf(views)) {
    unmountIn(views, name);
    if (name.includes('.')) removeFileFrom(views, name);
    else removeDirectory(views, name);
  }
  removeDirectory(parent, DIRECTORY);
}

function open(stateDir: string): Handle | undefined {
  return openAbsoluteIfThere(join(stateDir, DIRECTORY), O.RDONLY | O.DIRECTORY);
}
