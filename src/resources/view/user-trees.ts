import * as z from 'zod';
import { ParseError } from '../../errors.ts';
import { entriesAt, makeDirectories } from '../../linux/directory.ts';
import { type Handle, openAbsolute, openAbsoluteIfThere } from '../../linux/handle.ts';
import {
  ATTRIBUTE,
  attach,
  cloneMount,
  newTmpfs,
  PROPAGATION,
  removeDirectory,
  setMountAttributes,
  unmountIn,
} from '../../linux/mount.ts';
import { readTextIfThere } from '../../linux/read-file.ts';
import { stat } from '../../linux/stat.ts';
import { removeFile, writeTextWhole } from '../../linux/write-file.ts';
import { emptyTree } from './mount-points.ts';
import type { ViewNamespace } from './view-namespace.ts';

/** Directories for some ten thousand allocations, and no room for anything else. */
const TMPFS = { size: '64k', nr_inodes: '131072', mode: '0711' };
/** PATH_MAX of limits.h, and an id mapping of a few lines. */
const MOST_NOTE = 16_384;

const Note = z.object({ overmounts: z.string(), idMap: z.string() });

/** What is written down of a user's tree. */
export type TreeNote = z.infer<typeof Note>;

/**
 * The users' trees: for each user a tiny tmpfs of root's, with mount points on which is mounted what she is shown, at
 * `/<uid>` in the view namespace. It is shared, and over the data dir in the mount namespaces of her Podman lies a slave of
 * it: what is mounted here arrives there, with its attributes locked by the kernel, and she can change nothing of it.
 */
export class UserTrees {
  readonly #namespace: ViewNamespace;

  constructor(namespace: ViewNamespace) {
    this.#namespace = namespace;
  }

  /** The uids that have a tree, or what a kill left of one. */
  uids(): number[] {
    const names = this.#namespace.enter(() => entriesAt('/'));
    return (names ?? []).filter((name) => /^\d+$/.test(name)).map(Number);
  }

  /** What was written down of a user's tree; undefined where there is none. @throws ParseError */
  noteOf(uid: number): TreeNote | undefined {
    return this.in(uid, () => readNote(uid));
  }

  /** The tmpfs of a user's tree, without what is mounted in it; undefined where there is none. Usable in any mount namespace. */
  open(uid: number): Handle | undefined {
    return this.in(uid, (root) => {
      const alone = cloneMount(root);
      setMountAttributes(alone, 0, PROPAGATION.PRIVATE);
      return alone;
    });
  }

  /** Runs a block with the root of a user's tree, in the view namespace; undefined where there is no tree. */
  in<T>(uid: number, block: (root: Handle) => T): T | undefined {
    return this.#namespace.enter(() => {
      using root = openRoot(uid);
      return root && block(root);
    });
  }

  /** Makes a user's tree where there is none. @throws SyscallError */
  make(uid: number, note: TreeNote): void {
    this.#namespace.make();
    this.#namespace.enter(() => {
      using there = openRoot(uid);
      if (there) return;
      makeDirectories(`/${uid}`, 0o700);
      writeTextWhole(noteFile(uid), JSON.stringify(note));
      using directory = openAbsolute(`/${uid}`);
      using tmpfs = newTmpfs(TMPFS, ATTRIBUTE.NOSUID | ATTRIBUTE.NODEV | ATTRIBUTE.NOEXEC);
      setMountAttributes(tmpfs, 0, PROPAGATION.SHARED);
      attach(tmpfs, directory);
    });
  }

  /** Takes a user's tree away, and with the last one the view namespace. @throws SyscallError */
  remove(uid: number): void {
    using tree = this.open(uid);
    if (tree) emptyTree(tree);
    this.#namespace.enter(() => {
      using root = openAbsolute('/');
      unmountIn(root, String(uid));
      removeDirectory(root, String(uid));
      removeFile(noteFile(uid));
    });
    if (this.uids().length === 0) this.#namespace.remove();
  }
}

const noteFile = (uid: number) => `/${uid}.json`;

/** Undefined where nothing is mounted there, as where a kill left the directory alone. */
function openRoot(uid: number): Handle | undefined {
  using above = openAbsolute('/');
  const root = openAbsoluteIfThere(`/${uid}`);
  if (!root || stat(root).dev !== stat(above).dev) return root;
  root.close();
  return undefined;
}

function readNote(uid: number): TreeNote {
  const text = readTextIfThere(noteFile(uid), MOST_NOTE);
  const note = Note.safeParse(JSON.parse(text ?? 'null'));
  if (note.success) return note.data;
  throw new ParseError(
    `what is noted of the tree of uid ${uid}`,
    'overmounts and idMap',
    text ?? 'nothing',
    note.error,
  );
}
