import type { ServerResponse } from 'node:http';
import { NomadClient, NomadError, NomadUnreachableError } from '@hashicorp/nomad-client-ts';
import { describe, expect, test } from 'vitest';
import { eventually } from '../../support/eventually.ts';
import { NODE_ID, WEB_ID } from '../../support/nomad-fixture.ts';
import { beginStream, sendJson, sendText, standIn } from './stand-in.ts';

const EVENTS = { topics: ['Allocation'], namespace: '*', index: 125 };

function never(): void {
  // A server that takes the request and leaves it at that.
}

async function failureOf(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => expect.unreachable('the request succeeded'),
    (error: unknown) => error,
  );
}

describe('the Nomad client', () => {
  test('asks for each thing by its path and hands back the JSON and its index', async () => {
    await using nomad = await standIn((request, response) => sendJson(response, JSON.stringify({ at: request.url })));
    const client = new NomadClient({ address: nomad.address });
    const answers = [
      await client.agentSelf(),
      await client.node(NODE_ID),
      await client.nodeAllocations(NODE_ID),
      await client.allocation(WEB_ID),
    ];
    expect(answers).toEqual(
      ['/v1/agent/self', `/v1/node/${NODE_ID}`, `/v1/node/${NODE_ID}/allocations`, `/v1/allocation/${WEB_ID}`].map(
        (at) => ({ data: { at }, index: 125 }),
      ),
    );
    await client.close();
  });

  test('has no index where Nomad sends none or one that is no number', async () => {
    const indexes = [undefined, '', 'soon', '-1', '12'];
    const left = [...indexes];
    await using nomad = await standIn((_, response) => {
      const index = left.shift();
      response.writeHead(200, index === undefined ? {} : { 'X-Nomad-Index': index }).end('[]');
    });
    const client = new NomadClient({ address: nomad.address });
    const seen = [];
    for (const _ of indexes) seen.push((await client.nodeAllocations(NODE_ID)).index);
    expect(seen).toEqual([undefined, undefined, undefined, undefined, 12]);
    await client.close();
  });

  test("turns Nomad's text errors into errors with the status and the text", async () => {
    await using nomad = await standIn((_, response) => sendText(response, 403, 'Permission denied\n'));
    const client = new NomadClient({ address: nomad.address });
    const failure = await failureOf(client.agentSelf());
    expect(failure).toBeInstanceOf(NomadError);
    expect(failure).toMatchObject({
      status: 403,
      body: 'Permission denied',
      path: '/v1/agent/self',
      message: 'GET /v1/agent/self: 403 Permission denied',
    });
    await client.close();
  });

  test.each([
    ['text that is no JSON', 200, 'hello'],
    ['half a document', 200, '{"config":'],
    ['nothing', 200, ''],
    ['nothing, and says so', 204, ''],
  ])('says that Nomad is not there when %s comes', async (_, status, body) => {
    await using nomad = await standIn((_request, response) => void response.writeHead(status).end(body));
    const client = new NomadClient({ address: nomad.address });
    const failure = await failureOf(client.agentSelf());
    expect(failure).toBeInstanceOf(NomadUnreachableError);
    expect(String(failure)).toContain('expected JSON');
    await client.close();
  });

  test('survives a status that does not exist', async () => {
    await using nomad = await standIn((_, response) => {
      response.socket?.end('HTTP/1.1 999 What\r\nContent-Length: 5\r\n\r\nnever');
    });
    const client = new NomadClient({ address: nomad.address });
    const failure = await failureOf(client.agentSelf());
    expect(failure).toBeInstanceOf(NomadError);
    expect(failure).toMatchObject({ status: 999, body: 'never' });
    await client.close();
  });

  test('follows no redirect, so that the token goes nowhere else', async () => {
    await using elsewhere = await standIn((_, response) => sendJson(response, '{}'));
    await using nomad = await standIn((_, response) => {
      response.writeHead(307, { Location: elsewhere.address }).end();
    });
    const client = new NomadClient({ address: nomad.address, token: () => 's3cr3t' });
    expect(await failureOf(client.agentSelf())).toMatchObject({ status: 307 });
    expect(elsewhere.requests).toEqual([]);
    await client.close();
  });

  test('says that nobody listens', async () => {
    const nomad = await standIn(never);
    await nomad[Symbol.asyncDispose]();
    const client = new NomadClient({ address: nomad.address });
    const failure = await failureOf(client.agentSelf());
    expect(failure).toBeInstanceOf(NomadUnreachableError);
    expect(failure).toMatchObject({ cause: { code: 'ECONNREFUSED' } });
    await client.close();
  });

  test.each(['ftp://127.0.0.1', '127.0.0.1:4646', 'unix://run/nomad.sock', ''])('refuses the address %j', (address) => {
    expect(() => new NomadClient({ address })).toThrow(TypeError);
  });
});

describe('the token', () => {
  test('is asked for before each request, so that a renewed one counts at once', async () => {
    await using nomad = await standIn((_, response) => sendJson(response, '{}'));
    const tokens = ['first', ' renewed\n', undefined, ''];
    const left = [...tokens];
    const client = new NomadClient({ address: nomad.address, token: async () => left.shift() });
    for (const _ of tokens) await client.agentSelf();
    expect(nomad.requests.map(({ headers }) => headers['x-nomad-token'])).toEqual([
      'first',
      'renewed',
      undefined,
      undefined,
    ]);
    await client.close();
  });

  test('does not show in the error when no header can carry it', async () => {
    await using nomad = await standIn((_, response) => sendJson(response, '{}'));
    const client = new NomadClient({ address: nomad.address, token: () => 'sec\nret' });
    const failure = await failureOf(client.agentSelf());
    expect(failure).toMatchObject({ cause: { message: 'the token has characters that no HTTP header can carry' } });
    expect(nomad.requests).toEqual([]);
    await client.close();
  });

  test('that cannot be read fails the request with the reason, and nothing is sent without it', async () => {
    await using nomad = await standIn((_, response) => sendJson(response, '{}'));
    const reason = new Error('no token file');
    const client = new NomadClient({ address: nomad.address, token: () => Promise.reject(reason) });
    expect(await failureOf(client.agentSelf())).toBe(reason);
    expect(nomad.requests).toEqual([]);
    await client.close();
  });
});

describe('who is connected to', () => {
  test('is looked at before each connection, and where it is not admitted nothing is sent', async () => {
    await using nomad = await standIn((_, response) => sendJson(response, '{}'));
    const reason = new Error('not root');
    let refuses = true;
    let asked = 0;
    const admit = () => {
      asked += 1;
      if (refuses) throw reason;
    };
    const client = new NomadClient({ address: nomad.address, token: () => 's3cret', admit });
    expect(await failureOf(client.agentSelf())).toMatchObject({ name: 'NomadUnreachableError', cause: reason });
    expect(await failureOf(client.eventStream(EVENTS))).toMatchObject({ cause: reason });
    expect([asked, nomad.requests]).toEqual([2, []]);
    refuses = false;
    for (let times = 0; times < 20; times++) {
      await client.agentSelf();
      await new Promise(setImmediate);
    }
    // Not once for each request: a connection that was admitted is used again.
    expect(nomad.requests).toHaveLength(20);
    expect(asked).toBeLessThan(10);
    await client.close();
  });
});

describe('time', () => {
  test('is up for a request that gets no answer', async () => {
    await using nomad = await standIn(never);
    const client = new NomadClient({ address: nomad.address, timeoutMs: 50 });
    const failure = await failureOf(client.agentSelf());
    expect(failure).toBeInstanceOf(NomadUnreachableError);
    expect(String(failure)).toContain('no whole answer within 50 ms');
    await client.close();
  });

  test('is up for an answer that stops in the middle', async () => {
    await using nomad = await standIn((_, response) => void response.write('{"config":'));
    const client = new NomadClient({ address: nomad.address, timeoutMs: 50 });
    expect(String(await failureOf(client.agentSelf()))).toContain('no whole answer within 50 ms');
    await client.close();
  });

  test.each([
    ['before it is sent', true],
    ['while it waits', false],
  ])('is over for an aborted request %s, with the reason', async (_, already) => {
    await using nomad = await standIn(never);
    const client = new NomadClient({ address: nomad.address });
    const reason = new Error('stopping');
    const controller = new AbortController();
    if (already) controller.abort(reason);
    const failure = failureOf(client.nodeAllocations(NODE_ID, { signal: controller.signal }));
    if (!already) {
      await eventually(() => expect(nomad.requests).toHaveLength(1));
      controller.abort(reason);
    }
    expect(await failure).toBe(reason);
    await client.close();
  });
});

describe('the event stream of the client', () => {
  test('is asked for by topic, namespace and index, and comes as it is sent', async () => {
    const sent: ServerResponse[] = [];
    await using nomad = await standIn((_, response) => {
      beginStream(response);
      sent.push(response);
    });
    // The time-out for requests is none for the stream: it is long over when the first line comes.
    const client = new NomadClient({ address: nomad.address, timeoutMs: 20 });
    const lines = (await client.eventStream(EVENTS))[Symbol.asyncIterator]();
    expect(nomad.requests[0]?.url).toBe('/v1/event/stream?topic=Allocation&namespace=*&index=125');
    await failureOf(new NomadClient({ address: 'unix:///nowhere', timeoutMs: 20 }).agentSelf());
    sent[0]?.write('{}\n');
    expect(Buffer.from((await lines.next()).value ?? []).toString()).toBe('{}\n');
    sent[0]?.end();
    expect((await lines.next()).done).toBe(true);
    await client.close();
  });

  test('is hung up when it is destroyed', async () => {
    let hungUp = false;
    await using nomad = await standIn((_, response) => {
      beginStream(response);
      response.on('close', () => {
        hungUp = true;
      });
    });
    const client = new NomadClient({ address: nomad.address });
    (await client.eventStream(EVENTS)).destroy();
    await eventually(() => expect(hungUp).toBe(true));
    await client.close();
  });

  test('fails with the reason when it is aborted', async () => {
    await using nomad = await standIn((_, response) => beginStream(response));
    const client = new NomadClient({ address: nomad.address });
    const controller = new AbortController();
    const lines = (await client.eventStream({ ...EVENTS, signal: controller.signal }))[Symbol.asyncIterator]();
    const failure = failureOf(lines.next());
    const reason = new Error('stopping');
    controller.abort(reason);
    expect(await failure).toBe(reason);
    await client.close();
  });

  test('fails when the client is closed', async () => {
    await using nomad = await standIn((_, response) => beginStream(response));
    const client = new NomadClient({ address: nomad.address });
    const lines = (await client.eventStream(EVENTS))[Symbol.asyncIterator]();
    const failure = failureOf(lines.next());
    await client.close();
    expect(await failure).toBeInstanceOf(Error);
  });
});
