import type { Socket } from 'node:net';

/** The next bytes; undefined where no more come. */
export async function nextChunk(socket: Socket): Promise<Buffer | undefined> {
  for (;;) {
    const chunk: Buffer | null = socket.read();
    if (chunk) return chunk;
    if (socket.readableEnded || socket.destroyed) return undefined;
    await new Promise<void>((resolve) => {
      const settle = () => {
        for (const event of ['readable', 'end', 'close']) socket.off(event, settle);
        resolve();
      };
      for (const event of ['readable', 'end', 'close']) socket.on(event, settle);
    });
  }
}
