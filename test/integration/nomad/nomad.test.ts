import type { ServerResponse } from 'node:http';
import { describe, expect, onTestFinished, test } from 'vitest';
import { codeOf, messageOf, NotYetError, ParseError, RefusedError } from '../../../src/errors.ts';
import { Nomad } from '../../../src/nomad/nomad.ts';
import { eventually } from '../../support/eventually.ts';
import { fixture, jsonFixture, NODE_ID, WEB_ID } from '../../support/nomad-fixture.ts';
import { beginStream, type StandIn, sendJson, sendText, standIn } from './stand-in.ts';

const signal = new AbortController().signal;

function nomadAt({ address }: StandIn): Nomad {
  const nomad = new Nomad({ address, timeoutMs: 5000 });
  onTestFinished(() => nomad.close());
  return nomad;
}

async function failureOf(call: Promise<unknown>): Promise<Error> {
  return call.then(
    () => expect.unreachable('the call succeeded'),
    (error: Error) => error,
  );
}

/** The refusal that was recorded for a request; `title` begins its section in acl-refusals.txt or acl-mid-stream.txt. */
function refusal(title: string, request = ''): { status: number; body: string } {
  const section =
    ['acl-refusals.txt', 'acl-mid-stream.txt']
      .flatMap((file) => fixture(file).split(/^# /m))
      .find((text) => text.startsWith(title)) ?? '';
  const exchange = section.slice(section.indexOf(request)).split(/\n\$ /)[0] ?? '';
  const status = Number(/HTTP\/1\.1 (\d+)/.exec(exchange)?.[1]);
  const body = (exchange.split('\n\n')[1] ?? '').replace('<alloc>', WEB_ID);
  expect(status, `a refusal for ${title} ${request}`).toBeGreaterThan(0);
  return { status, body };
}

describe('the door to Nomad', () => {
  test('tells what the agent says of itself', async () => {
    await using server = await standIn((_, response) => sendJson(response, fixture('agent-self.json')));
    expect(await nomadAt(server).self(signal)).toMatchObject({ nodeId: NODE_ID, allocDir: '/var/lib/nomad/alloc' });
  });

  test('reads an allocation', async () => {
    await using server = await standIn((_, response) => sendJson(response, fixture('allocation-web.json')));
    expect(await nomadAt(server).allocation(WEB_ID, signal)).toMatchObject({ id: WEB_ID, jobId: 'web' });
    expect(server.requests[0]?.url).toBe(`/v1/allocation/${WEB_ID}`);
  });

  test('refuses an answer about another allocation than was asked for', async () => {
    await using server = await standIn((_, response) => sendJson(response, fixture('allocation-api.json')));
    const failure = await failureOf(nomadAt(server).allocation(WEB_ID, signal));
    expect(failure).toBeInstanceOf(ParseError);
    expect(failure.message).toContain(`expected ${WEB_ID}, got f53b64ea-`);
  });

  test.each(['', '../agent/self', `${WEB_ID}/stop`, WEB_ID.toUpperCase(), `${WEB_ID}\n`])(
    'asks nothing for the id %j',
    async (id) => {
      await using server = await standIn((_, response) => sendJson(response, '{}'));
      const nomad = nomadAt(server);
      for (const call of [nomad.allocation(id, signal), nomad.nodeAllocations(id, signal)]) {
        expect(await failureOf(call)).toBeInstanceOf(RefusedError);
      }
      expect(server.requests).toEqual([]);
    },
  );

  test('lists the allocations of a node', async () => {
    await using server = await standIn((_, response) => sendJson(response, fixture('node-allocations.json'), 125));
    const { allocations, malformed } = await nomadAt(server).nodeAllocations(NODE_ID, signal);
    const recorded: { ID: string }[] = JSON.parse(fixture('node-allocations.json'));
    expect(allocations.map(({ id }) => id)).toEqual(recorded.map(({ ID }) => ID));
    expect(malformed).toEqual([]);
  });

  test('lists the good allocations beside the ones that cannot be read, and says which these are', async () => {
    const jobless = { ...jsonFixture('allocation-api.json'), Job: null };
    const listing = JSON.stringify([jobless, 7, jsonFixture('allocation-web.json')]);
    await using server = await standIn((_, response) => sendJson(response, listing));
    const { allocations, malformed } = await nomadAt(server).nodeAllocations(NODE_ID, signal);
    expect(allocations.map(({ id }) => id)).toEqual([WEB_ID]);
    expect(malformed.map(({ id, error }) => [id, error.message])).toEqual([
      [jobless['ID' as keyof typeof jobless], expect.stringContaining('.Job: expected object, got null')],
      [undefined, 'allocation of unknown id: expected object, got 7'],
    ]);
  });

  test('says where the event stream starts, and which namespaces there are then, whatever their names', async () => {
    const namespaces = ['default', 'Ünï/"c*d"\n', ' ', 'default'];
    const listing = namespaces.map((Namespace) => ({ ...jsonFixture('allocation-web.json'), Namespace }));
    await using server = await standIn((_, response) => sendJson(response, JSON.stringify([...listing, 7]), 125));
    expect(await nomadAt(server).eventStart(NODE_ID, signal)).toEqual({ index: 125, namespaces: new Set(namespaces) });
  });

  test('does not take a listing without an index, or one that is no list', async () => {
    const answers = [
      (response: ServerResponse) => response.writeHead(200).end('[]'),
      (response: ServerResponse) => sendJson(response, '{}'),
    ];
    await using server = await standIn((_, response) => void answers.shift()?.(response));
    const nomad = nomadAt(server);
    expect((await failureOf(nomad.eventStart(NODE_ID, signal))).message).toContain('expected the header X-Nomad-Index');
    expect((await failureOf(nomad.eventStart(NODE_ID, signal))).message).toContain('expected a list, got object');
  });

  test('refuses an address that is none', () => {
    expect(() => new Nomad({ address: 'localhost' })).toThrow(RefusedError);
  });
});

describe('an allocation that Nomad does not give', () => {
  async function ask(status: number, text: string) {
    await using server = await standIn((_, response) => sendText(response, status, text));
    return await nomadAt(server).allocation(WEB_ID, signal);
  }

  test('is gone when Nomad says so', async () => {
    expect(await ask(404, 'alloc not found')).toBeUndefined();
  });

  test.each([
    ['of another kind of 404', 404, '404 page not found', 'nomad_error'],
    ['when it says so with another status', 500, 'alloc not found', 'nomad_error'],
    ['of an error inside', 500, 'rpc error: No cluster leader', 'nomad_error'],
    ['of too many connections', 429, 'Your IP is issuing too many concurrent connections', 'nomad_error'],
  ])('is not gone because %s', async (_, status, text, code) => {
    const failure = await failureOf(ask(status, text));
    expect(failure).toBeInstanceOf(NotYetError);
    expect([codeOf(failure), messageOf(failure)]).toEqual([code, expect.stringContaining(`${status} ${text}`)]);
  });

  test('is not gone because Nomad is out of reach', async () => {
    const server = await standIn(() => undefined);
    await server[Symbol.asyncDispose]();
    const failure = await failureOf(nomadAt(server).allocation(WEB_ID, signal));
    expect(failure).toBeInstanceOf(NotYetError);
    expect(codeOf(failure)).toBe('nomad_unreachable');
    expect(messageOf(failure)).toContain('ECONNREFUSED');
  });
});

describe('what a token may not', () => {
  const READ_JOB = 'namespace "*" { capabilities = ["read-job"] }';
  const NODE_READ = 'node { policy = "read" }';

  test.each([
    ['A token with node:read', 'GET /v1/allocation', READ_JOB, (nomad: Nomad) => nomad.allocation(WEB_ID, signal)],
    ['No token', 'GET /v1/allocation', READ_JOB, (nomad: Nomad) => nomad.allocation(WEB_ID, signal)],
    ['No token', 'GET /v1/agent', 'agent { policy = "read" }', (nomad: Nomad) => nomad.self(signal)],
    ['No token', 'GET /v1/node', NODE_READ, (nomad: Nomad) => nomad.nodeAllocations(NODE_ID, signal)],
    ['A token that does not exist', '', READ_JOB, (nomad: Nomad) => nomad.allocation(WEB_ID, signal)],
    ['A token that does not exist', '', READ_JOB, (nomad: Nomad) => nomad.eventLines({ index: 1 }, signal).next()],
    ['A token that was deleted', 'GET /v1/allocation', READ_JOB, (nomad: Nomad) => nomad.allocation(WEB_ID, signal)],
    ['A token that expired', 'GET /v1/agent', 'agent { policy = "read" }', (nomad: Nomad) => nomad.self(signal)],
    ['A token that expired', 'GET /v1/node', NODE_READ, (nomad: Nomad) => nomad.nodeAllocations(NODE_ID, signal)],
  ])('is named, and may be mended: %s, %s', async (title, request, right, call) => {
    const { status, body } = refusal(title, request);
    await using server = await standIn((_, response) => sendText(response, status, body));
    const failure = await failureOf(call(nomadAt(server)));
    expect(failure).toBeInstanceOf(NotYetError);
    expect(codeOf(failure)).toBe('nomad_denied');
    expect(failure.message).toContain(right);
  });

  test('looks like a node without allocations, which is a listing like any other', async () => {
    const { status, body } = refusal('A token with node:read', 'GET /v1/node');
    await using server = await standIn((_, response) => {
      response.writeHead(status, { 'X-Nomad-Index': '36' }).end(body);
    });
    const listing = await nomadAt(server).nodeAllocations(NODE_ID, signal);
    expect(listing).toEqual({ allocations: [], malformed: [] });
  });
});

describe('the lines of the event stream', () => {
  async function linesOf(server: StandIn, count: number): Promise<string[]> {
    const lines: string[] = [];
    for await (const { bytes } of nomadAt(server).eventLines({ index: 9 }, signal)) {
      if (lines.push(bytes.toString()) === count) break;
    }
    return lines;
  }

  test.each([1, 7, 1000, 65_536])('are whole when they come in pieces of %i bytes', async (size) => {
    const recorded = Buffer.from(fixture('event-stream.ndjson')).subarray(0, size === 1 ? 3000 : undefined);
    await using server = await standIn(async (_, response) => {
      beginStream(response);
      for (let at = 0; at < recorded.length; at += size) {
        if (!response.write(recorded.subarray(at, at + size)))
          await new Promise((next) => response.once('drain', next));
      }
      response.end();
    });
    const whole = recorded.toString().split('\n').slice(0, -1);
    expect(await linesOf(server, Number.POSITIVE_INFINITY)).toEqual(whole);
    expect(server.requests[0]?.url).toBe('/v1/event/stream?topic=Allocation&namespace=*&index=9');
  });

  test('are read no further when the reader stops, and Nomad hears it', async () => {
    let hungUp = false;
    await using server = await standIn((_, response) => {
      beginStream(response);
      response.on('close', () => {
        hungUp = true;
      });
      response.write('{}\n{}\n{}\n');
    });
    expect(await linesOf(server, 1)).toEqual(['{}']);
    await eventually(() => expect(hungUp).toBe(true));
  });

  test('end with an error that may pass when the connection breaks', async () => {
    await using server = await standIn((_, response) => {
      beginStream(response);
      response.write('{}\n', () => response.destroy());
    });
    const failure = await failureOf(linesOf(server, 2));
    expect(failure).toBeInstanceOf(NotYetError);
    expect(codeOf(failure)).toBe('nomad_unreachable');
  });

  test('end with the reason when they are aborted', async () => {
    const controller = new AbortController();
    await using server = await standIn((_, response) => {
      beginStream(response);
      response.write('{}\n');
    });
    const lines = nomadAt(server).eventLines({ index: 9 }, controller.signal);
    await lines.next();
    const failure = failureOf(lines.next());
    const reason = new Error('stopping');
    controller.abort(reason);
    expect(await failure).toBe(reason);
  });
});
