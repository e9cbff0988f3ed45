import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { nomadConnection } from '../../../src/agent/nomad-connection.ts';
import type { NomadConfig } from '../../../src/config/config.ts';
import { NotYetError } from '../../../src/errors.ts';
import { NOMAD_CONFIG } from '../../support/nomad-config.ts';

const config = (address: string, changes: Partial<NomadConfig> = {}): NomadConfig => ({
  ...NOMAD_CONFIG,
  address,
  token: 's3cret',
  ...changes,
});

const admit = (address: string, uids: number[]) => nomadConnection(config(address), () => uids).admit?.();

test('root on the port is taken for Nomad', () => {
  expect(() => admit('http://127.0.0.1:4646', [0])).not.toThrow();
});

test.each(['http://127.0.0.1:4646', 'http://localhost:4646', 'http://[::1]:4646'])(
  'another local user on the port of %s is not',
  (address) => {
    expect(() => admit(address, [2002])).toThrow(/uid 2002 listens on port 4646 of nomad.address/);
    expect(() => admit(address, [0, 2002])).toThrow(/uid 2002/);
    expect(() => admit(address, [])).toThrow(/nothing listens/);
  },
);

test('where TLS or the path of a socket says who it is, the port does not matter', () => {
  expect(() => admit('https://127.0.0.1:4646', [2002])).not.toThrow();
  expect(() => admit('unix:///run/nomad.sock', [2002])).not.toThrow();
});

describe('files', () => {
  let dir: string;

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'nomad-connection-'));
    onTestFinished(() => rmSync(dir, { recursive: true }));
  });

  test('with a token are read for each request, and replaced, emptied or missing they hold it up', () => {
    const tokenFile = join(dir, 'token');
    const { token } = nomadConnection(config('unix:///run/nomad.sock', { token: undefined, tokenFile }));
    expect(token).toThrow(NotYetError);
    expect(token).toThrow(`${tokenFile}: expected a file, got nothing`);
    writeFileSync(tokenFile, 'first\n');
    expect(token?.()).toBe('first');
    writeFileSync(join(dir, 'next'), 'second');
    renameSync(join(dir, 'next'), tokenFile);
    expect(token?.()).toBe('second');
    writeFileSync(tokenFile, '\n');
    expect(token).toThrow(NotYetError);
    expect(token).toThrow(`${tokenFile}: expected a token, got an empty file`);
  });

  test('with certificates are read for each request, and replaced or missing they hold it up', () => {
    const [caCert, clientCert, clientKey] = ['ca', 'cert', 'key'].map((name) => join(dir, name));
    const files = config('https://nomad:4646', { caCert, clientCert, clientKey, tlsServerName: 'client.global.nomad' });
    const { tls } = nomadConnection(files);
    expect(tls).toThrow(NotYetError);
    expect(tls).toThrow(`${caCert}: expected a file, got nothing`);
    for (const name of ['ca', 'cert', 'key']) writeFileSync(join(dir, name), `old ${name}`);
    const rest = { serverName: 'client.global.nomad', skipVerify: false };
    expect(tls?.()).toEqual({ ca: 'old ca', cert: 'old cert', key: 'old key', ...rest });
    for (const name of ['cert', 'key']) writeFileSync(join(dir, name), `new ${name}`);
    expect(tls?.()).toEqual({ ca: 'old ca', cert: 'new cert', key: 'new key', ...rest });
    rmSync(join(dir, 'key'));
    expect(tls).toThrow(NotYetError);
  });
});
