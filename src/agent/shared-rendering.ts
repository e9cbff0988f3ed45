import type { Clock } from '../clock.ts';

/** Something that costs to render, rendered once for all who ask within a time. */
export class SharedRendering<T> {
  readonly #render: () => Promise<T>;
  readonly #ms: number;
  readonly #clock: Pick<Clock, 'monotonic'>;
  #last: { readonly at: number; readonly what: Promise<T> } | undefined;

  /** @param ms how old it may be */
  constructor(render: () => Promise<T>, ms: number, clock: Pick<Clock, 'monotonic'>) {
    this.#render = render;
    this.#ms = ms;
    this.#clock = clock;
  }

  /** @throws what rendering throws, to all who share it */
  get(): Promise<T> {
    const now = this.#clock.monotonic();
    if (!this.#last || now - this.#last.at >= this.#ms) this.#last = { at: now, what: this.#render() };
    return this.#last.what;
  }
}
