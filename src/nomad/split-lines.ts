import { NotYetError } from '../errors.ts';

const NEWLINE = 0x0a;

/**
 * The lines of a byte stream, without their newlines, each as soon as it is whole. What stands behind the last newline
 * when the stream ends is half a line and is dropped. The work is linear in the bytes however they are cut up.
 * @param maxBytes a longer line ends it: an endless one must not fill the memory
 * @throws NotYetError `stream_line_too_long`, and whatever the source throws
 */
export async function* splitLines(source: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<string, void> {
  let held = Buffer.alloc(0);
  let length = 0;
  const hold = (bytes: Buffer) => {
    if (length + bytes.length > maxBytes) {
      throw new NotYetError(
        'stream_line_too_long',
        `event stream: expected lines of at most ${maxBytes} bytes, got more`,
      );
    }
    if (length + bytes.length > held.length) {
      const larger = Buffer.allocUnsafe(Math.max(2 * held.length, length + bytes.length));
      held.copy(larger, 0, 0, length);
      held = larger;
    }
    length += bytes.copy(held, length);
  };
  for await (const chunk of source) {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let start = 0;
    for (let end = bytes.indexOf(NEWLINE); end !== -1; end = bytes.indexOf(NEWLINE, start)) {
      if (length === 0 && end - start <= maxBytes) {
        yield bytes.toString('utf8', start, end);
      } else {
        hold(bytes.subarray(start, end));
        yield held.toString('utf8', 0, length);
        length = 0;
      }
      start = end + 1;
    }
    hold(bytes.subarray(start));
  }
}
