import { ParseError } from '../errors.ts';
import type { Framing } from './http-head.ts';

/** More than any client writes at once; eight hexadecimal digits are 4 GiB. */
const MAX_SIZE_DIGITS = 8;

/**
 * Finds the end of a body while it passes. Chunk extensions and trailers are refused: the driver sends none, and
 * parsers differ in how they read them.
 */
export class BodyEnd {
  #state:
    | 'data'
    | 'until-close'
    | 'size'
    | 'size-lf'
    | 'chunk'
    | 'chunk-cr'
    | 'chunk-lf'
    | 'end-cr'
    | 'end-lf'
    | 'done';
  /** Bytes of the body, or of the present chunk, that are still to come. */
  #left = 0;
  #sizeDigits = '';

  constructor(framing: Framing) {
    if (framing.kind === 'chunked') this.#state = 'size';
    else if (framing.kind === 'until-close') this.#state = 'until-close';
    else {
      this.#left = framing.length;
      this.#state = framing.length === 0 ? 'done' : 'data';
    }
  }

  /** Whether the whole body has passed. */
  get done(): boolean {
    return this.#state === 'done';
  }

  /**
   * Takes the bytes of `chunk` from `from` on; gives the index in `chunk` at which the body ends, or its length.
   * @throws ParseError for bad chunked coding
   */
  take(chunk: Buffer, from: number): number {
    let at = from;
    while (at < chunk.length && this.#state !== 'done') {
      if (this.#state === 'until-close') return chunk.length;
      if (this.#state === 'data' || this.#state === 'chunk') {
        const taken = Math.min(this.#left, chunk.length - at);
        this.#left -= taken;
        at += taken;
        if (this.#left === 0) this.#state = this.#state === 'data' ? 'done' : 'chunk-cr';
      } else {
        this.#takeByte(chunk[at] ?? 0);
        at += 1;
      }
    }
    return at;
  }

  #takeByte(byte: number): void {
    switch (this.#state) {
      case 'size':
        this.#takeSize(byte);
        return;
      case 'size-lf':
        expect(byte, '\n');
        this.#left = Number.parseInt(this.#sizeDigits, 16);
        this.#state = this.#left === 0 ? 'end-cr' : 'chunk';
        this.#sizeDigits = '';
        return;
      case 'chunk-cr':
        expect(byte, '\r');
        this.#state = 'chunk-lf';
        return;
      case 'chunk-lf':
        expect(byte, '\n');
        this.#state = 'size';
        return;
      case 'end-cr':
        expect(byte, '\r');
        this.#state = 'end-lf';
        return;
      default:
        expect(byte, '\n');
        this.#state = 'done';
    }
  }

  #takeSize(byte: number): void {
    const character = String.fromCharCode(byte);
    if (/[0-9a-fA-F]/.test(character) && this.#sizeDigits.length < MAX_SIZE_DIGITS) this.#sizeDigits += character;
    else if (character === '\r' && this.#sizeDigits !== '') this.#state = 'size-lf';
    else {
      const got = `${JSON.stringify(character)} after ${JSON.stringify(this.#sizeDigits)}`;
      throw new ParseError('chunk size', `1 to ${MAX_SIZE_DIGITS} hexadecimal digits and CRLF`, got);
    }
  }
}

function expect(byte: number, character: string): void {
  if (byte === character.charCodeAt(0)) return;
  throw new ParseError('chunked body', JSON.stringify(character), JSON.stringify(String.fromCharCode(byte)));
}
