import { type ContainerName, containerNameOf, isMadeForTask, judgeContainer } from '../model/ghost.ts';
import type { Containers, ListedContainer } from '../podman/containers.ts';
import type { Answers } from './answers.ts';
import type { Ghost, GhostSource } from './ghost.ts';

/** What it works with. */
interface ContainerGhostsParts {
  /** Whose containers. */
  readonly user: string;
  readonly containers: Pick<Containers, 'list' | 'sourcesOf' | 'remove'>;
  readonly answers: Pick<Answers, keyof Answers>;
  /** Whether Nomad's directory of an allocation is there. */
  readonly hasDirectory: (id: string) => boolean;
  /** As Nomad spells it. */
  readonly allocDir: string;
  /** Whether the driver leaves containers that have ended. */
  readonly keepsExited: boolean;
}

/** `<task>-<allocation id>`, for Podman to look for. */
const NAMES = '^.+-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$';
/** What Nomad could say at the worst. */
const WORST = { kind: 'gone' } as const;
/**
 * In one look, of Nomad and of the user's Podman each: a user who makes thousands of such containers by hand, or whose Podman
 * says so, does not have us ask thousands of times. What a container was made for is remembered: the next look goes on.
 */
const MOST_ASKED = 100;

/** The containers of one user that the driver has left behind. */
export class ContainerGhosts implements GhostSource {
  readonly what: string;
  readonly #parts: ContainerGhostsParts;
  /** By the id of a container, whether it was made for a task: that does not change. */
  #made = new Map<string, boolean>();

  constructor(parts: ContainerGhostsParts) {
    this.#parts = parts;
    this.what = `containers of ${parts.user}`;
  }

  async look(): Promise<Ghost[]> {
    const { containers, answers, hasDirectory, keepsExited } = this.#parts;
    const listed = await containers.list(NAMES);
    this.#made = new Map(listed.flatMap(({ id }) => (this.#made.has(id) ? [[id, this.#made.get(id) === true]] : [])));
    const ghosts: Ghost[] = [];
    let asked = 0;
    let inspected = 0;
    for (const container of listed) {
      const name = containerNameOf(container.name);
      if (!name || answers.isKnownToRun(name.allocationId)) continue;
      if (!judgeContainer(container, WORST, false, keepsExited).isGhost) continue;
      if (!this.#made.has(container.id) && ++inspected > MOST_ASKED) continue;
      if (!(await this.#isMade(container, name))) continue;
      if (++asked > MOST_ASKED) break;
      const { allocationId } = name;
      const answer = await answers.of(allocationId);
      const { isGhost, why } = judgeContainer(container, answer, hasDirectory(allocationId), keepsExited);
      if (isGhost) ghosts.push(this.#ghost(container, allocationId, why));
    }
    return ghosts;
  }

  async #isMade({ id }: ListedContainer, name: ContainerName): Promise<boolean> {
    const known = this.#made.get(id);
    if (known !== undefined) return known;
    const sources = await this.#parts.containers.sourcesOf(id);
    const isMade = sources !== undefined && isMadeForTask(sources, name, this.#parts.allocDir);
    this.#made.set(id, isMade);
    return isMade;
  }

  #ghost(container: ListedContainer, allocationId: string, why: string): Ghost {
    const { user, containers } = this.#parts;
    const { id: key, name, state } = container;
    return { key, kind: 'container', allocationId, user, name, state, why, remove: () => containers.remove(container) };
  }
}
