import { isDeepStrictEqual } from 'node:util';
import { redact } from '../model/redaction.ts';

/** So many characters of a text are told: what is removed makes room for what comes behind it. */
const MOST_CHARACTERS = 500;
const MOST_TEXTS = 4096;

/**
 * Texts as they may be told to whoever can connect: without secrets, and not for ever. Each is looked through once, not each time
 * that the page with hundreds of them is asked for.
 */
export class ToldTexts {
  readonly #secretsNow: () => readonly string[];
  readonly #told = new Map<string, string>();
  #secrets: readonly string[] = [];

  /** @param secretsNow what must be in no text; asked by `refresh` */
  constructor(secretsNow: () => readonly string[]) {
    this.#secretsNow = secretsNow;
  }

  /** To be called before texts are told, since secrets change. */
  refresh(): void {
    const secrets = this.#secretsNow();
    if (isDeepStrictEqual(secrets, this.#secrets)) return;
    this.#secrets = secrets;
    this.#told.clear();
  }

  tell(text: string): string {
    const head = shortened(text);
    const known = this.#told.get(head);
    if (known !== undefined) return known;
    const told = redact(head, this.#secrets);
    if (this.#told.size >= MOST_TEXTS) this.#told.clear();
    this.#told.set(head, told);
    return told;
  }
}

/** A secret that is cut in two is not known as one any more: the word at the cut goes. */
function shortened(text: string): string {
  if (text.length <= MOST_CHARACTERS) return text;
  const head = text.slice(0, MOST_CHARACTERS);
  return `${head.slice(0, head.lastIndexOf(' ') + 1)}…`;
}
