import { join } from 'node:path';
import { needsOf } from '../../src/model/user-needs.ts';
import { DataDir } from '../../src/resources/data-dir.ts';
import { PodmanNamespaces, type PodmanOwner } from '../../src/resources/podman-namespaces.ts';
import type { Step } from '../../src/resources/resource.ts';
import { TreeRemoval } from '../../src/resources/view/tree-removal.ts';
import { UserTrees } from '../../src/resources/view/user-trees.ts';
import { type ViewOptions, ViewResource } from '../../src/resources/view/view.ts';
import { ViewMounts } from '../../src/resources/view/view-mounts.ts';
import { ViewNamespace } from '../../src/resources/view/view-namespace.ts';
import { LeapingClock } from './leaping-clock.ts';

/** What an agent shows allocations with, its state in `<base>/state`, Nomad's data dir `dataDir` with the allocations in alloc/. */
export interface ViewParts extends Disposable {
  readonly dataDir: DataDir;
  readonly namespaces: PodmanNamespaces;
  readonly trees: UserTrees;
  readonly mounts: ViewMounts;
  readonly view: ViewResource;
  readonly treeRemoval: TreeRemoval;
  /** The steps against trees that no allocation needs, where there is none. */
  planRemoval(): Promise<Step[]>;
}

/** Several for one base are one agent after another: what the host has is theirs together. */
export function viewParts(
  base: string,
  data: string,
  owners: readonly PodmanOwner[],
  options: Partial<Pick<ViewOptions, 'idmap' | 'ordering' | 'mostShown' | 'isSelinuxOn'>> = {},
): ViewParts {
  const dataDir = new DataDir(join(data, 'alloc'), data);
  const namespaces = new PodmanNamespaces(new LeapingClock());
  const namespace = new ViewNamespace(join(base, 'state'));
  const trees = new UserTrees(namespace);
  const mounts = new ViewMounts({ dataDir, namespace, trees, namespaces });
  const parts = { dataDir, mounts, trees, namespaces, owners: () => owners };
  const view = new ViewResource({
    ...parts,
    idmap: 'auto',
    ordering: 'gate',
    mostShown: 64,
    isSelinuxOn: false,
    ...options,
  });
  const treeRemoval = new TreeRemoval(parts);
  const planRemoval = async () => {
    const uids = [...new Set(treeRemoval.uids())];
    return (await Promise.all(uids.map((uid) => treeRemoval.planRemoval(needsOf(uid, [], true))))).flat();
  };
  const close = () => {
    namespaces.close();
    trees.close();
    namespace.close();
  };
  return { dataDir, namespaces, trees, mounts, view, treeRemoval, planRemoval, [Symbol.dispose]: close };
}
