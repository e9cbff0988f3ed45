import { ParseError } from '../errors.ts';

const CR = 0x0d;
const LF = 0x0a;
/** Go's server sends none longer than what was written to it at once; more digits would be more than any bound here. */
const MOST_DIGITS = 8;

/** What comes next: the digits of a chunk's length, the end of that line, the chunk, the end of its line, or nothing. */
type Next = 'digits' | 'line feed' | 'bytes' | 'end' | 'end line feed' | 'nothing';

/**
 * Takes the bytes of a chunked body out of its chunks (RFC 9112, section 7.1), however these are cut: what is read at once is given
 * at once. node:http makes an object and a call of each chunk: a user whose Podman sends single bytes would have one read of its socket
 * keep everybody waiting for a tenth of a second, and hold a hundred times its bytes. Strict as Go's server writes: no extensions.
 */
export class Chunked {
  readonly #where: string;
  #next: Next = 'digits';
  #digits = 0;
  #left = 0;

  /** @param where what the stream is, for the error */
  constructor(where: string) {
    this.#where = where;
  }

  /** Whether the last chunk has come. */
  get isOver(): boolean {
    return this.#next === 'nothing';
  }

  /** The bytes of the body in a piece of it. @throws ParseError */
  bytesIn(piece: Buffer): Buffer {
    const bytes = Buffer.allocUnsafe(piece.length);
    let length = 0;
    for (let at = 0; at < piece.length && !this.isOver; ) {
      if (this.#next === 'bytes') {
        const taken = Math.min(this.#left, piece.length - at);
        length += piece.copy(bytes, length, at, at + taken);
        at += taken;
        this.#left -= taken;
        if (this.#left === 0) this.#next = 'end';
      } else {
        this.#take(piece.readUInt8(at));
        at += 1;
      }
    }
    return bytes.subarray(0, length);
  }

  #take(byte: number): void {
    const digit = this.#next === 'digits' ? digitOf(byte) : undefined;
    if (digit !== undefined && this.#digits < MOST_DIGITS) {
      this.#left = 16 * this.#left + digit;
      this.#digits += 1;
    } else if (this.#next === 'digits' && this.#digits > 0 && byte === CR) this.#next = 'line feed';
    else if (this.#next === 'line feed' && byte === LF) {
      this.#digits = 0;
      this.#next = this.#left > 0 ? 'bytes' : 'nothing';
    } else if (this.#next === 'end' && byte === CR) this.#next = 'end line feed';
    else if (this.#next === 'end line feed' && byte === LF) this.#next = 'digits';
    else throw new ParseError(this.#where, `chunks, and in them ${this.#next}`, `the byte ${byte}`);
  }
}

function digitOf(byte: number): number | undefined {
  const digit = Number.parseInt(String.fromCharCode(byte), 16);
  return Number.isNaN(digit) ? undefined : digit;
}
