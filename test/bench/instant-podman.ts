import { rmSync } from 'node:fs';
import { until } from '../support/until.ts';
import { accepts } from './accepts.ts';
import { MeasuredProcess } from './measured-process.ts';

/** A Podman of a user that answers everything at once, with as many bytes as its version takes. */
const SERVICE = `
const { createServer } = require('node:http');
const body = JSON.stringify({ Components: 'x'.repeat(600) });
const headers = { 'Content-Type': 'application/json', 'Content-Length': body.length, 'Libpod-Api-Version': '4.3.1' };
createServer((request, response) => {
  request.resume();
  response.writeHead(200, headers).end(body);
}).listen(process.argv[1]);
`;

/** Starts it at a socket, in place of what was there. @param uid the user's: the gate speaks to nobody else there */
export async function startInstantPodman(uid: number, socket: string): Promise<MeasuredProcess> {
  rmSync(socket, { force: true });
  const as = ['--reuid', String(uid), '--regid', String(uid), '--clear-groups'];
  const podman = new MeasuredProcess(['setpriv', ...as, process.execPath, '-e', SERVICE, socket]);
  await until('it listens', () => accepts(socket));
  return podman;
}
