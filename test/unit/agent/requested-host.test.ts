import { expect, test } from 'vitest';
import { isMeantForUs } from '../../../src/agent/requested-host.ts';

const LOOPBACK = { host: '127.0.0.1', port: 4656 };

test.each(['127.0.0.1', '127.0.0.1:4656', '[::1]:4656', '192.0.2.7:4656', 'localhost', 'LocalHost:4656', ''])(
  'a request for %j is meant for us',
  (host) => expect(isMeantForUs(host, LOOPBACK)).toBe(true),
);

test.each([
  'attacker.example',
  'attacker.example:4656',
  'localhost.attacker.example',
  '127.0.0.1.attacker.example',
  '127.0.0.1@attacker.example',
  '[attacker.example]',
  '[::1].attacker.example',
  'node-1:4656',
  ':4656',
  '127.0.0.1:4656, attacker.example',
])('a request for %j is not', (host) => expect(isMeantForUs(host, LOOPBACK)).toBe(false));

test('one for the host of the configuration is, and at a unix socket each is', () => {
  expect(isMeantForUs('node-1:4656', { host: 'Node-1', port: 4656 })).toBe(true);
  expect(isMeantForUs('attacker.example', { host: 'node-1', port: 4656 })).toBe(false);
  expect(isMeantForUs('status.example', { socket: '/run/x.sock' })).toBe(true);
});
