import * as z from 'zod';
import { ParseError } from '../../errors.ts';
import { entriesAt, makeDirectories } from '../../linux/directory.ts';
import { type Handle, openAbsolute, openAbsoluteIfThere } from '../../linux/handle.ts';
import {
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
import { removeFile, writeWhole } from '../../linux/write-file.ts';
import { emptyTree } from './mount-points.ts';
import type { ViewNamespace } from './view-namespace.ts';

/** Directories for some ten thousand allocations, and no room for anything else. */
const TMPFS = { size: '64k', nr_inodes: '131072', mode: '0711' };
/** PATH_MAX of limits.h, and an id mapping of a few lines. */
const MOST_NOTE = 16_384;

const Note = z.object({ overmounts: z.string(), idMap: z.string() });

/** What is written down of a user's tree. */
export type TreeNote = z.infer<typeof Note>;

/** A user's tree. */
interface UserTree {
  readonly note: TreeNote;
  /** Its tmpfs, without what is mounted in it. Usable in any mount namespace. */
  readonly tmpfs: Handle;
}

/**
 * The users' trees: for each user a tiny tmpfs of root's, with mount points on which is mounted what she is shown, at
 * `/<uid>` in the view namespace. It is shared, and over the data dir in the mount namespaces of her Podman lies a slave of
 * it: what is mounted here arrives there, with its attributes locked by the kernel, and she can change nothing of it.
 */
export class UserTrees {
  readonly #namespace: ViewNamespace;
  /** Nobody but us changes them: what was read once holds until we change it, or find that root took it away. */
  readonly #known = new Map<number, UserTree>();
  #uids: readonly number[] | undefined;

  constructor(namespace: ViewNamespace) {
    this.#namespace = namespace;
  }

  /** The uids that have a tree, or what a kill left of one. */
  uids(): readonly number[] {
    this.#uids ??=
      this.#namespace.enter(() =>
        entriesAt('/')
          .filter((name) => /^\d+$/.test(name))
          .map(Number),
      ) ?? [];
    return this.#uids;
  }

  /** A user's tree; undefined where there is none. Not to be closed. @throws ParseError */
  get(uid: number): UserTree | undefined {
    const known = this.#known.get(uid);
    if (known || !this.uids().includes(uid)) return known;
    const tree = this.in(uid, (root): UserTree => {
      const note = readNote(uid);
      const tmpfs = cloneMount(root);
      setMountAttributes(tmpfs, 0, PROPAGATION.PRIVATE);
      return { note, tmpfs };
    });
    if (tree) this.#known.set(uid, tree);
    return tree;
  }

  /** Runs a block with the root of a user's tree, in the view namespace; undefined where there is no tree. */
  in<T>(uid: number, block: (root: Handle) => T): T | undefined {
    const answer = this.#namespace.enter(() => {
      using root = openRoot(uid);
      return root && { of: block(root) };
    });
    if (!answer) this.#forget(uid);
    return answer?.of;
  }

  /** Makes a user's tree where there is none. @throws SyscallError */
  make(uid: number, note: TreeNote): void {
    this.#forget(uid);
    this.#namespace.make();
    this.#namespace.enter(() => {
      using there = openRoot(uid);
      if (there) return;
      makeDirectories(`/${uid}`, 0o700);
      writeWhole(noteFile(uid), JSON.stringify(note));
      using directory = openAbsolute(`/${uid}`);
      using tmpfs = newTmpfs(TMPFS);
      setMountAttributes(tmpfs, 0, PROPAGATION.SHARED);
      attach(tmpfs, directory);
    });
  }

  /** Takes a user's tree away, and with the last one the view namespace. @throws SyscallError */
  remove(uid: number): void {
    const tree = this.get(uid);
    if (tree) emptyTree(tree.tmpfs);
    this.#forget(uid);
    this.#namespace.enter(() => {
      using root = openAbsolute('/');
      unmountIn(root, String(uid));
      removeDirectory(root, String(uid));
      removeFile(noteFile(uid));
    });
    if (this.uids().length === 0) this.#namespace.remove();
  }

  close(): void {
    for (const uid of [...this.#known.keys()]) this.#forget(uid);
  }

  #forget(uid: number): void {
    this.#known.get(uid)?.tmpfs.close();
    this.#known.delete(uid);
    this.#uids = undefined;
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
