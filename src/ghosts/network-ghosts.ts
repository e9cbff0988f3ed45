import { RefusedError } from '../errors.ts';
import type { Log } from '../log.ts';
import { judgeNetwork } from '../model/ghost.ts';
import type { CniAttachment, CniCache } from '../resources/netns/cni-cache.ts';
import { deleteAttachment } from '../resources/netns/cni-delete.ts';
import type { MigratedNetns } from '../resources/netns/migrated.ts';
import type { Answers } from './answers.ts';
import type { Ghost, GhostSource } from './ghost.ts';

/** What it works with. */
interface NetworkGhostsParts {
  readonly netns: Pick<MigratedNetns, keyof MigratedNetns>;
  readonly cache: Pick<CniCache, keyof CniCache>;
  readonly answers: Pick<Answers, keyof Answers>;
  /** Whether Nomad's directory of an allocation is there. */
  readonly hasDirectory: (id: string) => boolean;
  /** The name of the user with that uid. */
  readonly userOf: (uid: number) => string;
  /** Where CNI plugins lie, absolute. */
  readonly pluginDirs: readonly string[];
  readonly log: Log;
}

/**
 * The network namespaces of ours that Nomad has left behind: killed while it stops an allocation with a network it forgets
 * that network, and with it the lease and the packet filters (its network hook has no spec after the restart).
 */
export class NetworkGhosts implements GhostSource {
  readonly what = 'networks';
  readonly #parts: NetworkGhostsParts;

  constructor(parts: NetworkGhostsParts) {
    this.#parts = parts;
  }

  async look(): Promise<Ghost[]> {
    const { netns, answers, hasDirectory } = this.#parts;
    const ghosts: Ghost[] = [];
    for (const id of netns.ids()) {
      const uid = hasDirectory(id) || answers.isKnownToRun(id) ? undefined : netns.ownerOf(id);
      const why = uid === undefined ? undefined : await this.#whyLeft(id);
      if (uid !== undefined && why !== undefined) ghosts.push(this.#ghost(id, uid, why));
    }
    return ghosts;
  }

  async #whyLeft(id: string): Promise<string | undefined> {
    const { netns, answers, hasDirectory } = this.#parts;
    const seen = { isUsers: true, isBeingMigrated: netns.isBeingMigrated(id) };
    const { isGhost, why } = judgeNetwork(seen, await answers.of(id), hasDirectory(id));
    return isGhost ? why : undefined;
  }

  #ghost(id: string, uid: number, why: string): Ghost {
    const name = this.#parts.netns.pathOf(id);
    const user = this.#parts.userOf(uid);
    const remove = () => this.#remove(id);
    return { key: id, kind: 'network', allocationId: id, user, name, state: 'mounted', why, remove };
  }

  /** What Nomad would have done: CNI DEL, then the network namespace. */
  async #remove(id: string): Promise<void> {
    const { netns, cache, pluginDirs, log } = this.#parts;
    const attachments = cache.attachments(id);
    for (const attachment of attachments) {
      requireOwnNetns(attachment, id);
      await deleteAttachment(attachment, id, pluginDirs);
      cache.forget(attachment);
    }
    if (attachments.length === 0 && (await netns.hasLinks(id))) {
      const message = `libcni has no record of the network of allocation ${id}: its namespace is removed, but the lease of its address and its packet filters stay; look for the id with: grep -rl ${id} /var/lib/cni/networks; iptables-save | grep ${id}`;
      log.warn({ allocation: id, code: 'cni_lease_left' }, message);
    }
    netns.remove(id);
  }
}

/** @throws RefusedError `cni_cache_mismatch` */
function requireOwnNetns({ file, netns }: CniAttachment, id: string): void {
  if ([`/var/run/netns/${id}`, `/run/netns/${id}`].includes(netns)) return;
  throw new RefusedError('cni_cache_mismatch', `${file}: expected the network namespace of ${id}, got ${netns}`);
}
