import type { Screen } from './screen.ts';

/** What has to hold for the demo to succeed. */
export class Checks {
  readonly #screen: Screen;
  readonly #failed: string[] = [];
  #held = 0;

  constructor(screen: Screen) {
    this.#screen = screen;
  }

  /** Notes whether something holds; `got` is what is so instead. */
  check(what: string, holds: boolean, got = ''): void {
    if (holds) this.#held++;
    else this.#failed.push(got === '' ? what : `${what}; got ${got}`);
  }

  /** Says which checks failed. @returns the exit code */
  conclude(): number {
    const screen = this.#screen;
    screen.heading(`${this.#held} checks held, ${this.#failed.length} failed`);
    for (const what of this.#failed) screen.text(`${screen.paint('red', 'failed')}  ${what}`);
    return this.#failed.length === 0 ? 0 : 1;
  }
}
