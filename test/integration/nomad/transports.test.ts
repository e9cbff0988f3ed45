import { mkdtemp, rm } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { NomadClient, type TlsOptions } from '@hashicorp/nomad-client-ts';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { fixture, NODE_ID } from '../../support/nomad-fixture.ts';
import { type Certificate, CertificateAuthority, SERVER_NAME } from './certificates.ts';
import { beginStream, sendJson, standIn } from './stand-in.ts';

let dir: string;
let ca: string;
let server: Certificate;
let agent: Certificate;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nomad-tls-'));
  const authority = await CertificateAuthority.make(dir, 'test CA');
  ca = await authority.pem;
  server = await authority.server();
  agent = await authority.client('agent');
});

afterAll(async () => {
  await rm(dir, { recursive: true });
});

async function nodeIdBy(address: string, tls?: TlsOptions): Promise<string | undefined> {
  const client = new NomadClient({ address, tls: () => tls ?? {} });
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

  test('carries TLS as well, with the name that the server has', async () => {
    const socketPath = join(dir, 'tls.sock');
    const tls = { ...server, ca, requestCert: true, rejectUnauthorized: true };
    await using nomad = await standIn((_, response) => sendJson(response, fixture('agent-self.json')), {
      socketPath,
      tls,
    });
    const trusting = { ca, ...agent, serverName: SERVER_NAME };
    expect(await nodeIdBy(`https+unix://${socketPath}`, trusting)).toBe(NODE_ID);
    await expect(nodeIdBy(`https+unix://${socketPath}`, { ...trusting, serverName: 'other' })).rejects.toMatchObject({
      cause: { code: 'ERR_TLS_CERT_ALTNAME_INVALID' },
    });
    await expect(nodeIdBy(`unix://${socketPath}`, trusting)).rejects.toMatchObject({ name: 'NomadUnreachableError' });
    expect(nomad.requests).toHaveLength(1);
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

  test('takes new certificates for new connections, while what is under way ends on the old ones', async () => {
    const other = await CertificateAuthority.make(dir, 'other CA');
    const trusted = { ca, serverName: SERVER_NAME };
    const tls = { ...server, ca: [ca, await other.pem], requestCert: true, rejectUnauthorized: true };
    const peers: string[] = [];
    await using nomad = await standIn(
      (request, response) => {
        peers.push(String((request.socket as TLSSocket).getPeerCertificate().issuer.CN));
        if (request.url?.startsWith('/v1/event/stream')) beginStream(response);
        else sendJson(response, fixture('agent-self.json'));
        streams.push(response);
      },
      { tls },
    );
    const streams: ServerResponse[] = [];
    let inUse: Certificate = agent;
    const client = new NomadClient({ address: nomad.address, tls: () => ({ ...trusted, ...inUse }) });
    onTestFinished(() => client.close());
    const lines = (await client.eventStream({ topics: ['Allocation'], namespace: '*' }))[Symbol.asyncIterator]();
    await client.agentSelf();
    inUse = await other.client('agent');
    await client.agentSelf();
    expect(peers).toEqual(['test CA', 'test CA', 'other CA']);
    streams[0]?.write('{}\n');
    expect(Buffer.from((await lines.next()).value ?? []).toString()).toBe('{}\n');
  });

  test.each([
    ['half written', (pem: string) => pem.slice(0, 100)],
    ['empty', () => ''],
    ['of another key', async () => (await (await CertificateAuthority.make(dir, 'third CA')).client('x')).key],
  ])('fails a request while the key is %s, and goes on when it is whole again', async (_, broken) => {
    await using nomad = await tlsNomad();
    let key = await broken(agent.key);
    const tls = () => ({ ca, cert: agent.cert, key, serverName: SERVER_NAME });
    const client = new NomadClient({ address: nomad.address, tls });
    onTestFinished(() => client.close());
    await expect(client.agentSelf()).rejects.toMatchObject({ name: 'NomadUnreachableError' });
    key = agent.key;
    expect((await client.agentSelf()).data.stats.client?.node_id).toBe(NODE_ID);
  });
});
