import { expect, test } from 'vitest';
import { nomadConnection } from '../../../src/agent/nomad-connection.ts';
import type { NomadConfig } from '../../../src/config/config.ts';

const config = (address: string): NomadConfig => ({
  address,
  token: 's3cret',
  tokenFile: undefined,
  caCert: undefined,
  clientCert: undefined,
  clientKey: undefined,
  tlsServerName: undefined,
  skipVerify: false,
  dataDir: undefined,
  allocDir: undefined,
  nodeId: undefined,
});

const tokenFor = (address: string, uids: number[]) => nomadConnection(config(address), () => uids).token?.();

test('root on the port is taken for Nomad', () => {
  expect(tokenFor('http://127.0.0.1:4646', [0])).toBe('s3cret');
});

test.each(['http://127.0.0.1:4646', 'http://localhost:4646', 'http://[::1]:4646'])(
  'another local user on the port of %s is not, and is not sent the token',
  (address) => {
    expect(() => tokenFor(address, [2002])).toThrow(/uid 2002 listens on port 4646/);
    expect(() => tokenFor(address, [0, 2002])).toThrow(/uid 2002/);
    expect(() => tokenFor(address, [])).toThrow(/nobody listens/);
  },
);

test('where TLS or the path of a socket says who it is, the port does not matter', () => {
  expect(tokenFor('https://127.0.0.1:4646', [2002])).toBe('s3cret');
  expect(tokenFor('unix:///run/nomad.sock', [2002])).toBe('s3cret');
});
