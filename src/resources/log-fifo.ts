import { failedWith, RefusedError } from '../errors.ts';
import { entriesOf } from '../linux/directory.ts';
import { type Handle, openBeneathIfThere } from '../linux/handle.ts';
import { O, SyscallError } from '../linux/libc.ts';
import { isFifo, stat } from '../linux/stat.ts';
import { type Acl, MAY, permissionsOf, withoutUser, withUser } from '../model/acl.ts';
import type { Access, Desired } from '../model/desired.ts';
import type { DataDir } from './data-dir.ts';
import { readAcl, writeAcl } from './marked-acl.ts';
import type { Resource, Step } from './resource.ts';

const LOGS = 'alloc/logs';
const STREAMS = ['stdout', 'stderr'];

/**
 * Lets a user's conmon write to the log FIFOs of the user's tasks. The driver chowns them from 0.6.5 on; before, they
 * are root's alone. Only by the names of tasks: the directory they lie in can be filled by tasks of other drivers. What is
 * not a FIFO of root's, reached without a symlink, is left alone.
 */
export class LogFifoResource implements Resource {
  readonly kind = 'log_fifo';
  readonly #dataDir: DataDir;

  constructor(dataDir: DataDir) {
    this.#dataDir = dataDir;
  }

  plan(desired: Desired): Step[] {
    using directory = this.#dataDir.open(desired.id);
    if (!directory || desired.kind === 'refused') return [];
    using logs = openLogs(directory, desired.kind === 'access');
    if (!logs) return [];
    if (desired.kind === 'nothing')
      return entriesOf(directory).flatMap((task) => this.#removals(logs, desired.id, task));
    return desired.podman.flatMap((user) =>
      user.tasks.flatMap((task) => fifosOf(task).flatMap((name) => this.#grant(logs, desired.id, user, name))),
    );
  }

  #grant(logs: Handle, id: string, user: Access, name: string): Step[] {
    using fifo = openLogFifo(logs, name);
    if (!fifo || (permissionsOf(readAcl(fifo), user.uid) & MAY.readWrite) === MAY.readWrite) return [];
    const what = `set u:${user.uid}:rw- on ${fifo.path}`;
    const change = (acl: Acl) => withUser(acl, user.uid, MAY.readWrite);
    return [{ kind: this.kind, what, removes: false, apply: () => this.#change(id, name, change) }];
  }

  /** @param task a name in the allocation's directory, where only root makes any: a task's, or another */
  #removals(logs: Handle, id: string, task: string): Step[] {
    return fifosOf(task).flatMap((name) => {
      using fifo = openLogFifo(logs, name);
      const uids = fifo ? [...readAcl(fifo).users.keys()] : [];
      if (!fifo || uids.length === 0) return [];
      const what = `removed ${uids.map((uid) => `u:${uid}`).join(',')} from ${fifo.path}`;
      const change = (acl: Acl) => uids.reduce(withoutUser, acl);
      return [{ kind: this.kind, what, removes: true, apply: () => this.#change(id, name, change) }];
    });
  }

  #change(id: string, name: string, change: (acl: Acl) => Acl): void {
    using directory = this.#dataDir.open(id);
    using logs = directory && openLogs(directory, true);
    using fifo = logs && openLogFifo(logs, name);
    if (fifo) writeAcl(fifo, change(readAcl(fifo)));
  }
}

/** As Nomad's logmon names them, client/logmon in Nomad's source. */
function fifosOf(task: string): string[] {
  return STREAMS.map((stream) => `.${task}.${stream}.fifo`);
}

/**
 * The log directory of an allocation. Tasks of other drivers can put a symlink in its place: no way for us, so that is refused, or,
 * where there is only something to take away, passed over.
 */
function openLogs(directory: Handle, required: boolean): Handle | undefined {
  try {
    return openBeneathIfThere(directory, LOGS, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
  } catch (error) {
    if (!(error instanceof SyscallError && failedWith(error, 'ELOOP', 'EXDEV', 'ENOTDIR'))) throw error;
    if (!required) return undefined;
    const message = `${error.path} is no longer a directory: a task of this allocation has replaced it`;
    throw new RefusedError('unsafe_path', message, error);
  }
}

/**
 * A log FIFO as logmon made it: root's, or given by the driver (0.6.5) to a user who has an entry of ours. What a
 * container put in its place is the container's own, and none of our business.
 */
function openLogFifo(logs: Handle, name: string): Handle | undefined {
  const handle = openBeneathIfThere(logs, name, O.PATH | O.NOFOLLOW);
  if (!handle) return undefined;
  const status = stat(handle);
  if (isFifo(status) && (status.uid === 0 || readAcl(handle).users.has(status.uid))) return handle;
  handle.close();
  return undefined;
}
