import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { listenerUids, parseListeners } from '../../../src/linux/tcp-listener.ts';

const TABLE = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1226 00000000:0000 0A 00000000:00000000 00:00000000 00000000  2002        0 1234 1 0000000000000000 100 0 0 10 0
   1: 0100007F:1226 0100007F:9C40 01 00000000:00000000 00:00000000 00000000  2003        0 1235 1 0000000000000000 20 4 30 10 -1
   2: 0100007F:1227 00000000:0000 0A 00000000:00000000 00:00000000 00000000  2004        0 1236 1 0000000000000000 100 0 0 10 0
`;

test('who listens on a port is read from the table, connections and other ports left out', () => {
  expect(parseListeners(TABLE, 4646)).toEqual([2002]);
  expect(parseListeners(TABLE, 4648)).toEqual([]);
});

test('the kernel says who listens on a port, and that nobody does', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  expect(listenerUids(port)).toEqual([process.getuid?.()]);
  await new Promise((resolve) => server.close(resolve));
  expect(listenerUids(port)).toEqual([]);
});
