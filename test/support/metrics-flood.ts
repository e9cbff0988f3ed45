import { spawn } from 'node:child_process';

/** 200 connections, each with 200 requests in one piece, opened anew as soon as it ends; nothing is read of what comes back. */
const FLOOD = `
const net = require('node:net');
const [host, port] = process.argv[1].split(':');
const requests = 'GET /metrics HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'.repeat(200);
const open = () => {
  const socket = net.connect(Number(port), host, () => socket.write(requests)).pause();
  socket.on('error', () => undefined).on('close', () => setImmediate(open));
  setTimeout(() => socket.resume(), 1000);
};
for (let opened = 0; opened < 200; opened++) open();
`;

/** A process of a user nobody knows that does nothing but ask the metrics server, until it is disposed of. */
export function startMetricsFlood(address: string): Disposable {
  const argv = ['--reuid=65534', '--regid=65534', '--clear-groups', '--', process.execPath, '-e', FLOOD, address];
  const child = spawn('setpriv', argv, { stdio: ['ignore', 'ignore', 'inherit'] });
  return { [Symbol.dispose]: () => void child.kill('SIGKILL') };
}
