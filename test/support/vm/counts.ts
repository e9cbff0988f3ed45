import { nameOf, type Part } from './parts.ts';

/** A line by which the demo or the tests say what came of them. */
const SUMMARY = /^(\d+) (?:passed|checks held), (\d+) failed(?:, (\d+) skipped)?$/;
const ENDED = /^== ended with (\d+)$/;

/** Adds up what the parts say of themselves. */
export class Counts {
  passed = 0;
  failed = 0;
  skipped = 0;
  readonly #left: Part[];
  #summary: readonly number[] | undefined;

  constructor(parts: readonly Part[]) {
    this.#left = [...parts];
  }

  /** Takes in the next line that the machine writes. */
  read(line: string): void {
    const summary = SUMMARY.exec(line);
    if (summary) this.#summary = summary.slice(1).map((count) => Number(count ?? 0));
    const ended = ENDED.exec(line);
    if (!ended) return;
    this.#left.shift();
    const [passed = 0, failed = 0, skipped = 0] = this.#summary ?? [];
    this.#summary = undefined;
    this.passed += passed;
    this.skipped += skipped;
    this.failed += failed === 0 && ended[1] !== '0' ? 1 : failed;
  }

  /** Counts each part that has not ended as one failure. @returns the names of those */
  end(): readonly string[] {
    this.failed += this.#left.length;
    return this.#left.splice(0).map(nameOf);
  }

  toString(): string {
    return `${this.passed} passed, ${this.failed} failed${this.skipped === 0 ? '' : `, ${this.skipped} skipped`}`;
  }
}
