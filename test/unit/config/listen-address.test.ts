import { expect, test } from 'vitest';
import { parseListenAddress } from '../../../src/config/listen-address.ts';

test.each([
  ['127.0.0.1:4656', '127.0.0.1', 4656],
  ['localhost:0', 'localhost', 0],
  ['[::1]:9090', '::1', 9090],
])('reads %s', (text, host, port) => {
  expect(parseListenAddress(text)).toEqual({ host, port });
});

test('reads the path of a unix socket', () => {
  expect(parseListenAddress('unix:///run/metrics.sock')).toEqual({ socket: '/run/metrics.sock' });
  expect(parseListenAddress('unix://run/metrics.sock')).toBeUndefined();
});

test.each(['', ':4656', '4656', '127.0.0.1', '127.0.0.1:', '127.0.0.1:65536', '::1:4656', 'http://x:1', 'a b:1'])(
  'takes %j for no address',
  (text) => {
    expect(parseListenAddress(text)).toBeUndefined();
  },
);
