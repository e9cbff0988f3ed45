import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { NomadClient, type TlsOptions } from '@hashicorp/nomad-client-ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fixture, NODE_ID } from '../../unit/nomad/fixture.ts';
import { sendJson, standIn } from './stand-in.ts';

const run = promisify(execFile);
/** The name that Nomad's own certificates carry for the servers of a region. */
const SERVER_NAME = 'server.global.nomad';

let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nomad-tls-'));
});

afterAll(async () => {
  await rm(dir, { recursive: true });
});

async function nodeIdBy(address: string, tls?: TlsOptions): Promise<string | undefined> {
  const client = new NomadClient({ address, tls });
  try {
    return (await client.agentSelf()).data.stats.client?.node_id;
  } finally {
    await client.close();
  }
}

describe('a unix socket', () => {
  test('carries requests and the token', async () => {
    const socketPath = join(dir, 'api %41.sock');
    await using nomad = await standIn((_, response) => sendJson(response, fixture('agent-self.json')), { socketPath });
    const client = new NomadClient({ address: `unix://${socketPath}`, token: () => 'workload-identity' });
    expect((await client.agentSelf()).data.stats.client?.node_id).toBe(NODE_ID);
    expect(nomad.requests[0]?.headers['x-nomad-token']).toBe('workload-identity');
    await client.close();
  });

  test('that is not there is an error that names it', async () => {
    const missing = join(dir, 'missing.sock');
    await expect(nodeIdBy(`unix://${missing}`)).rejects.toMatchObject({
      name: 'NomadUnreachableError',
      cause: { code: 'ENOENT', address: missing },
    });
  });
});

describe('TLS with a CA of its own', () => {
  let ca: string;
  let server: { cert: string; key: string };
  let agent: { cert: string; key: string };

  async function issue(name: string, extension: string): Promise<{ cert: string; key: string }> {
    const [key, request, cert, extensions] = ['key', 'csr', 'pem', 'ext'].map((end) => join(dir, `${name}.${end}`));
    if (!key || !request || !cert || !extensions) throw new Error('no paths');
    await writeFile(extensions, extension);
    const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key];
    await run('openssl', ['req', ...newKey, '-subj', `/CN=${name}`, '-out', request]);
    const signer = ['-CA', join(dir, 'ca.pem'), '-CAkey', join(dir, 'ca.key'), '-CAcreateserial'];
    await run('openssl', [
      'x509',
      '-req',
      '-in',
      request,
      ...signer,
      '-days',
      '2',
      '-extfile',
      extensions,
      '-out',
      cert,
    ]);
    return { cert: await readFile(cert, 'utf8'), key: await readFile(key, 'utf8') };
  }

  beforeAll(async () => {
    const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    const files = ['-keyout', join(dir, 'ca.key'), '-out', join(dir, 'ca.pem')];
    await run('openssl', ['req', '-x509', ...newKey, ...files, '-subj', '/CN=test CA', '-days', '2']);
    ca = await readFile(join(dir, 'ca.pem'), 'utf8');
    server = await issue('server', `subjectAltName=DNS:${SERVER_NAME}\n`);
    agent = await issue('agent', 'extendedKeyUsage=clientAuth\n');
  });

  function tlsNomad() {
    const tls = { ...server, ca, requestCert: true, rejectUnauthorized: true };
    return standIn((_, response) => sendJson(response, fixture('agent-self.json')), { tls });
  }

  test('is accepted with the CA, the client certificate and the name that the server has', async () => {
    await using nomad = await tlsNomad();
    expect(await nodeIdBy(nomad.address, { ca, ...agent, serverName: SERVER_NAME })).toBe(NODE_ID);
  });

  test('is refused without the CA', async () => {
    await using nomad = await tlsNomad();
    await expect(nodeIdBy(nomad.address, { ...agent, serverName: SERVER_NAME })).rejects.toMatchObject({
      cause: { code: 'SELF_SIGNED_CERT_IN_CHAIN' },
    });
    expect(nomad.requests).toEqual([]);
  });

  test('is refused under another name than the server has', async () => {
    await using nomad = await tlsNomad();
    const wrong = nodeIdBy(nomad.address, { ca, ...agent, serverName: 'server.elsewhere.nomad' });
    await expect(wrong).rejects.toMatchObject({ cause: { code: 'ERR_TLS_CERT_ALTNAME_INVALID' } });
    await expect(nodeIdBy(nomad.address, { ca, ...agent })).rejects.toMatchObject({
      cause: { code: 'ERR_TLS_CERT_ALTNAME_INVALID' },
    });
    expect(nomad.requests).toEqual([]);
  });

  test('is refused by a server that wants a client certificate when there is none', async () => {
    await using nomad = await tlsNomad();
    const bare = nodeIdBy(nomad.address, { ca, serverName: SERVER_NAME });
    await expect(bare).rejects.toMatchObject({ name: 'NomadUnreachableError' });
    expect(nomad.requests).toEqual([]);
  });

  test('is accepted whatever the certificate when that is asked for', async () => {
    await using nomad = await tlsNomad();
    expect(await nodeIdBy(nomad.address, { ...agent, skipVerify: true })).toBe(NODE_ID);
  });
});
