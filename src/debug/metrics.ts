import { request } from 'node:http';
import { signalAfter } from '../clock.ts';
import type { ListenAddress } from '../config/config.ts';
import { NotYetError } from '../errors.ts';

const TIMEOUT_MS = 10_000;
/** Any local user can have the port, and say what and as much as she likes. */
const MOST_BYTES = 4 * 1024 * 1024;

/** What the agent's metrics server says. @throws NotYetError `no_metrics`, an Error of node:http */
export function fetchMetrics(address: ListenAddress | undefined): Promise<string> {
  return new Promise((resolve, reject) => {
    if (!address) return reject(new NotYetError('no_metrics', 'metrics.address is off'));
    const where = 'socket' in address ? { socketPath: address.socket } : address;
    request({ ...where, path: '/metrics', signal: signalAfter(TIMEOUT_MS) }, (response) => {
      const chunks: Buffer[] = [];
      let length = 0;
      response.on('data', (chunk: Buffer) => {
        length += chunk.length;
        if (length > MOST_BYTES) response.destroy(new NotYetError('no_metrics', `more than ${MOST_BYTES} bytes`));
        else chunks.push(chunk);
      });
      response.on('end', () => resolve(Buffer.concat(chunks).toString()));
      response.on('error', reject);
    })
      .on('error', reject)
      .end();
  });
}
