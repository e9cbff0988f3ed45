import type { Clock } from '../clock.ts';
import { codeOf, messageOf } from '../errors.ts';
import type { Log } from '../log.ts';

/** Many allocations are looked at in a row when all are listed. */
const KEPT_MS = 1000;

/** Host volumes of the node by name, with their paths. */
type Paths = ReadonlyMap<string, string>;

/**
 * The host volumes of the node: asked for anew each time, but for those who ask at once; what was last said, while Nomad is
 * away. A volume that is not among them may have been made a moment ago: then Nomad is asked whatever it has just said.
 */
export class HostVolumes {
  readonly #ask: () => Promise<Paths>;
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #log: Log;
  #asked: { readonly answer: Promise<Paths>; readonly until: number } | undefined;
  #known: Paths | undefined;

  constructor(ask: () => Promise<Paths>, { clock, log }: { clock: Pick<Clock, 'monotonic'>; log: Log }) {
    this.#ask = ask;
    this.#clock = clock;
    this.#log = log;
  }

  /**
   * @param names of the volumes that are wanted
   * @throws what asking Nomad throws, where it has never answered
   */
  async paths(names: readonly string[]): Promise<Paths> {
    const paths = await this.#paths();
    if (names.every((name) => paths.has(name))) return paths;
    this.#asked = undefined;
    return await this.#paths();
  }

  async #paths(): Promise<Paths> {
    const now = this.#clock.monotonic();
    if (!this.#asked || this.#asked.until <= now) this.#asked = { answer: this.#ask(), until: now + KEPT_MS };
    const { answer } = this.#asked;
    try {
      this.#known = await answer;
    } catch (error) {
      if (this.#asked?.answer === answer) this.#asked = undefined;
      if (!this.#known) throw error;
      this.#log.debug({ code: codeOf(error) }, `using the host volumes that are known: ${messageOf(error)}`);
    }
    return this.#known;
  }
}
