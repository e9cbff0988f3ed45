import { Transform, type TransformCallback } from 'node:stream';
import { ParseError } from '../errors.ts';

/** A channel, three bytes that say nothing, and a length in network byte order (pkg/api/handlers/compat/containers_logs.go of Podman). */
const HEADER_BYTES = 8;
const LENGTH_OFFSET = 4;
/** Standard input, output, error, and errors of the service. */
const MOST_CHANNEL = 3;
/** A line of a container's log is a frame; conmon cuts lines at some KiB. */
const MAX_FRAME_BYTES = 1024 * 1024;

/**
 * Lets frames of a multiplexed stream through. Stops a user whose Podman announces a frame of 4 GiB: the driver makes room for
 * as much as the header says (DemuxFrame in api/demux.go), in memory that all users share. Fails with ParseError.
 */
export class Frames extends Transform {
  readonly #where: string;
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #headerBytes = 0;
  #left = 0;

  /** @param where what the stream is, for the error */
  constructor(where: string) {
    super();
    this.#where = where;
  }

  override _transform(chunk: Buffer, _: BufferEncoding, done: TransformCallback): void {
    const wrong = this.#read(chunk);
    if (wrong) done(wrong);
    else done(null, chunk);
  }

  #read(chunk: Buffer): ParseError | undefined {
    for (let at = 0; at < chunk.length; ) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, chunk.length - at);
        this.#left -= taken;
        at += taken;
        continue;
      }
      const copied = chunk.copy(this.#header, this.#headerBytes, at);
      at += copied;
      this.#headerBytes += copied;
      if (this.#headerBytes < HEADER_BYTES) return undefined;
      this.#headerBytes = 0;
      this.#left = this.#header.readUInt32BE(LENGTH_OFFSET);
      const channel = this.#header.readUInt8(0);
      if (channel > MOST_CHANNEL || this.#left > MAX_FRAME_BYTES) {
        const got = `channel ${channel}, ${this.#left} bytes`;
        return new ParseError(this.#where, `frames of at most ${MAX_FRAME_BYTES} bytes`, got);
      }
    }
    return undefined;
  }
}
