const NEWLINE = 0x0a;
/** What is kept of a line that is cut: enough for the index at its end. In bytes. */
const KEPT_OF_CUT = 64;
/** A line of this size is nothing special; what a larger one took is given back once it has been read. In bytes. */
const USUAL = 2 ** 20;

/** A line without its newline. */
export interface Line {
  /** Its bytes; of one that was cut, the last few. They hold until the next line is asked for. */
  readonly bytes: Buffer;
  /** Whether it was longer than what is taken. */
  readonly cut: boolean;
}

/**
 * The lines of a byte stream, each as soon as it is whole. What stands behind the last newline when the stream ends is
 * half a line and is dropped. The work is linear in the bytes however they are cut up.
 * @param maxBytes a longer line is cut: an endless one must not fill the memory
 * @throws whatever the source throws
 */
export async function* splitLines(source: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<Line, void> {
  const held = new HeldLine(maxBytes);
  for await (const chunk of source) {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let start = 0;
    for (let end = bytes.indexOf(NEWLINE); end !== -1; end = bytes.indexOf(NEWLINE, start)) {
      yield held.endWith(bytes.subarray(start, end));
      start = end + 1;
    }
    held.add(bytes.subarray(start));
  }
}

/** What has come of the line that is not whole yet. */
class HeldLine {
  readonly #maxBytes: number;
  #bytes = Buffer.alloc(0);
  #length = 0;
  #cut = false;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** The whole line, now that its last piece is there. */
  endWith(piece: Buffer): Line {
    if (this.#length === 0 && piece.length <= this.#maxBytes) return { bytes: piece, cut: false };
    this.add(piece);
    const line = { bytes: this.#bytes.subarray(0, this.#length), cut: this.#cut };
    if (this.#bytes.length > USUAL) this.#bytes = Buffer.alloc(0);
    this.#length = 0;
    this.#cut = false;
    return line;
  }

  add(piece: Buffer): void {
    this.#cut ||= this.#length + piece.length > this.#maxBytes;
    if (this.#cut) this.#keepEnd(piece);
    else this.#append(piece);
  }

  #append(piece: Buffer): void {
    const length = this.#length + piece.length;
    if (length > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(2 * this.#bytes.length, length));
      this.#bytes.copy(larger, 0, 0, this.#length);
      this.#bytes = larger;
    }
    this.#length += piece.copy(this.#bytes, this.#length);
  }

  #keepEnd(piece: Buffer): void {
    const held = this.#bytes.subarray(Math.max(0, this.#length - KEPT_OF_CUT), this.#length);
    this.#bytes = Buffer.concat([held, piece.subarray(-KEPT_OF_CUT)]).subarray(-KEPT_OF_CUT);
    this.#length = this.#bytes.length;
  }
}
