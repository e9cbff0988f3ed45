import type { UserNeeds } from '../../model/user-needs.ts';
import type { PodmanOwner } from '../podman-namespaces.ts';
import type { Step, UserResource } from '../resource.ts';
import type { UserTrees } from './user-trees.ts';
import type { ViewMounts } from './view-mounts.ts';

/** What the resource works with. */
interface TreeRemovalOptions {
  readonly trees: Pick<UserTrees, 'uids'>;
  readonly mounts: Pick<ViewMounts, 'isLeftOver' | 'removeTree' | 'shownCount'>;
  /** The users that have a gate. */
  readonly owners: () => readonly Pick<PodmanOwner, 'uid'>[];
}

/**
 * The trees of users of whom no allocation is left, and what remains of one over the data dir in a user's mount namespace where
 * the tree went without it. The first thing that is shown in a tree makes it.
 */
export class TreeRemoval implements UserResource {
  readonly kind = 'view';
  readonly #options: TreeRemovalOptions;

  constructor(options: TreeRemovalOptions) {
    this.#options = options;
  }

  uids(): number[] {
    const { trees, owners } = this.#options;
    return [...trees.uids(), ...owners().map(({ uid }) => uid)];
  }

  neededBy(): number[] {
    return [];
  }

  plan(): Step[] {
    return [];
  }

  async planRemoval({ uid, allocations }: UserNeeds): Promise<Step[]> {
    const { mounts, trees } = this.#options;
    if (allocations.size > 0 || mounts.shownCount(uid) > 0) return [];
    if (!trees.uids().includes(uid) && !(await mounts.isLeftOver(uid))) return [];
    const what = `removed the per-user tmpfs over the data dir, which no allocation needs, from the mount namespaces of uid ${uid}`;
    return [{ kind: this.kind, what, removes: true, apply: () => mounts.removeTree(uid) }];
  }
}
