import { codeOf, messageOf } from '../errors.ts';
import type { Log } from '../log.ts';
import { type Allocation, isFinished } from '../model/allocation.ts';
import type { Answer } from '../model/ghost.ts';

/** Where answers come from. */
export interface AnswerSources {
  /** What Nomad last said of an allocation, where that is remembered. */
  readonly known: (id: string) => Allocation | undefined;
  /** Asks Nomad: undefined means that it says there is none. */
  readonly ask: (id: string) => Promise<Allocation | undefined>;
  /** Whether Nomad's agent and its event stream are there. */
  readonly isConnected: () => boolean;
  readonly log: Log;
}

/** Says what Nomad says of allocations. */
export class Answers {
  readonly #sources: AnswerSources;

  constructor(sources: AnswerSources) {
    this.#sources = sources;
  }

  /** Whether an allocation had not finished when Nomad last spoke of it: it has no ghosts, and need not be asked for. */
  isKnownToRun(id: string): boolean {
    const known = this.#sources.known(id);
    return known !== undefined && !isFinished(known);
  }

  /** Asks Nomad afresh. While it is away nobody is asked: its client may take up what runs when it comes back. */
  async of(id: string): Promise<Answer> {
    const { isConnected, ask, log } = this.#sources;
    if (!isConnected()) return { kind: 'unanswered', why: 'it is not connected' };
    try {
      const allocation = await ask(id);
      return allocation ? { kind: 'found', allocation } : { kind: 'gone' };
    } catch (error) {
      log.debug({ allocation: id, code: codeOf(error) }, `what it has left behind stays: ${messageOf(error)}`);
      return { kind: 'unanswered', why: messageOf(error) };
    }
  }
}
