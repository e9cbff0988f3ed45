import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ParseError } from '../../../src/errors.ts';
import {
  closingHead,
  HeadCollector,
  MAX_HEAD_BYTES,
  parseRequestHead,
  type RequestHead,
} from '../../../src/gate/http-head.ts';

function collect(chunks: readonly Buffer[]): { head: Buffer; rest: Buffer } | undefined {
  const collector = new HeadCollector();
  for (const [index, chunk] of chunks.entries()) {
    const found = collector.push(chunk);
    if (found) return { head: found.head, rest: Buffer.concat([found.rest, ...chunks.slice(index + 1)]) };
  }
  return undefined;
}

function parse(text: string): RequestHead | 'incomplete' | 'refused' {
  try {
    const found = collect([Buffer.from(text, 'latin1')]);
    return found ? parseRequestHead(found.head) : 'incomplete';
  } catch (error) {
    if (error instanceof ParseError) return 'refused';
    throw error;
  }
}

/** A request as Go's http client writes it, with these header lines added. */
const request = (...lines: string[]) =>
  [
    'POST /v1.0.0/libpod/containers/create HTTP/1.1',
    'Host: u',
    'User-Agent: Go-http-client/1.1',
    ...lines,
    '',
    '',
  ].join('\r\n');

const tokenText = fc.stringMatching(/^[A-Za-z][A-Za-z0-9-]{0,15}$/).map((name) => `X-${name}`);
const valueText = fc.stringMatching(/^[!-~]([ !-~]{0,30}[!-~])?$/);
const validRequest = fc
  .record({
    method: fc.constantFrom('GET', 'POST', 'HEAD', 'DELETE', 'PUT'),
    target: fc.stringMatching(/^\/[a-z0-9/%.?=&_-]{0,60}$/),
    headers: fc.array(fc.tuple(tokenText, valueText), { maxLength: 8 }),
    framing: fc.constantFrom([], ['Content-Length: 17'], ['Transfer-Encoding: chunked'], ['content-length:0']),
  })
  .map(({ method, target, headers, framing }) =>
    [`${method} ${target} HTTP/1.1`, ...headers.map((pair) => pair.join(': ')), ...framing, '', ''].join('\r\n'),
  );

describe('a request head', () => {
  test('gives method, target and framing', () => {
    expect(parse(request('Content-Length: 12', 'Content-Type: application/json'))).toEqual({
      method: 'POST',
      target: '/v1.0.0/libpod/containers/create',
      framing: { kind: 'length', length: 12 },
      upgrade: false,
      expect: false,
    });
    expect(parse(request('Transfer-Encoding: Chunked'))).toMatchObject({ framing: { kind: 'chunked' } });
    expect(parse('GET / HTTP/1.1\r\n\r\n')).toMatchObject({ framing: { kind: 'length', length: 0 } });
    expect(parse(request('Upgrade: tcp', 'Expect: 100-continue'))).toMatchObject({ upgrade: true, expect: true });
  });

  test('parses the same however it is cut into chunks', () => {
    fc.assert(
      fc.property(
        validRequest,
        fc.uint8Array({ maxLength: 40 }),
        fc.array(fc.nat({ max: 400 }), { maxLength: 12 }),
        (text, after, cuts) => {
          const bytes = Buffer.concat([Buffer.from(text, 'latin1'), after]);
          const whole = collect([bytes]);
          const points = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
          const chunks = points.slice(1).map((to, index) => bytes.subarray(points[index], to));
          const pieces = collect(chunks);
          expect(pieces).toEqual(whole);
          expect(whole?.head.toString('latin1')).toBe(text);
          expect(whole?.rest).toEqual(Buffer.from(after));
        },
      ),
    );
  });

  test('is found at its empty line even when it comes byte by byte', () => {
    const text = request('Content-Length: 3');
    const chunks = [...Buffer.from(`${text}abc`)].map((byte) => Buffer.from([byte]));
    expect(collect(chunks)?.head.toString()).toBe(text);
    expect(collect(chunks)?.rest.toString()).toBe('abc');
  });

  test.each([
    ['both lengths', request('Content-Length: 5', 'Transfer-Encoding: chunked')],
    ['both lengths, the other way round', request('Transfer-Encoding: chunked', 'Content-Length: 5')],
    ['different lengths', request('Content-Length: 5', 'Content-Length: 6')],
    ['the same length twice', request('Content-Length: 5', 'Content-Length: 5')],
    ['a list of lengths', request('Content-Length: 5, 5')],
    ['a signed length', request('Content-Length: +5')],
    ['a negative length', request('Content-Length: -5')],
    ['a hexadecimal length', request('Content-Length: 0x5')],
    ['a length with a no-break space', request('Content-Length: \xa05')],
    ['an empty length', request('Content-Length:')],
    ['a length beyond safe numbers', request('Content-Length: 99999999999999999999')],
    ['a coding that is not chunked', request('Transfer-Encoding: gzip')],
    ['identity', request('Transfer-Encoding: identity')],
    ['several codings', request('Transfer-Encoding: gzip, chunked')],
    ['chunked twice', request('Transfer-Encoding: chunked', 'Transfer-Encoding: chunked')],
    ['chunked with a control character', request('Transfer-Encoding: \x0bchunked')],
    ['an empty coding', request('Transfer-Encoding:')],
    ['a space before the colon', request('Transfer-Encoding : chunked')],
    ['a tab before the colon', request('Content-Length\t: 5')],
    ['a folded line', request('X-A: b', ' Transfer-Encoding: chunked')],
    ['a line folded by a tab', request('X-A: b', '\tc')],
    ['a first header that begins with a space', 'GET / HTTP/1.1\r\n Host: u\r\n\r\n'],
    ['a header without a colon', request('Content-Length')],
    ['an empty header name', request(': x')],
    ['a bare LF between headers', request('X-A: b\nTransfer-Encoding: chunked')],
    ['a bare CR within a header', request('X-A: b\rTransfer-Encoding: chunked')],
    ['a NUL within a header', request('X-A: b\0c')],
    ['a bare LF at its end', 'GET / HTTP/1.1\r\nHost: u\n\n'],
    ['only bare LFs', 'GET / HTTP/1.1\nHost: u\n\n'],
    ['an empty line first', '\r\nGET / HTTP/1.1\r\n\r\n'],
    ['HTTP/1.0', 'GET / HTTP/1.0\r\n\r\n'],
    ['HTTP/2.0', 'PRI * HTTP/2.0\r\n\r\n'],
    ['a lower-case version', 'GET / http/1.1\r\n\r\n'],
    ['no version', 'GET /\r\n\r\n'],
    ['two spaces', 'GET  / HTTP/1.1\r\n\r\n'],
    ['a tab for a space', 'GET\t/ HTTP/1.1\r\n\r\n'],
    ['an absolute target', 'GET http://u/ HTTP/1.1\r\n\r\n'],
    ['an authority target', 'CONNECT u:80 HTTP/1.1\r\n\r\n'],
    ['an asterisk target', 'OPTIONS * HTTP/1.1\r\n\r\n'],
    ['a fragment', 'GET /a#b HTTP/1.1\r\n\r\n'],
    ['a target that is not ASCII', 'GET /\xe9 HTTP/1.1\r\n\r\n'],
    ['a method that is no token', 'GE(T / HTTP/1.1\r\n\r\n'],
  ])('with %s is refused', (_, text) => {
    expect(parse(text)).toBe('refused');
  });

  test('that was made ambiguous anywhere is never accepted', () => {
    const broken = fc.constantFrom(
      'Content-Length: 5\r\nContent-Length: 6',
      'Content-Length: 5\r\nTransfer-Encoding: chunked',
      'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity',
      'Transfer-Encoding : chunked',
      'Transfer-Encoding:\r\n chunked',
      'Transfer-Encoding: xchunked',
      'X: y\nContent-Length: 5',
      'X: y\rContent-Length: 5',
      'Content-Length: 5 6',
      'Content-Length: 1e1',
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(tokenText, valueText), { maxLength: 6 }), broken, fc.nat(), (headers, bad, at) => {
        const lines = headers.map((pair) => pair.join(': '));
        lines.splice(at % (lines.length + 1), 0, bad);
        expect(parse(request(...lines))).toBe('refused');
      }),
    );
  });

  test('that is accepted after any change of a byte has one framing header at most, and no stray control character', () => {
    fc.assert(
      fc.property(validRequest, fc.nat(), fc.integer({ min: 0, max: 255 }), (text, at, byte) => {
        const bytes = Buffer.from(text, 'latin1');
        bytes[at % bytes.length] = byte;
        const mutated = bytes.toString('latin1');
        const result = parse(mutated);
        if (result === 'refused' || result === 'incomplete') return;
        const head = mutated.slice(0, mutated.indexOf('\r\n\r\n'));
        expect(head.match(/^(content-length|transfer-encoding)[ \t]*:/gim)?.length ?? 0).toBeLessThanOrEqual(1);
        const control = [...head.replaceAll('\r\n', '')].filter((character) => character < ' ' || character === '\x7f');
        expect(control.filter((character) => character !== '\t')).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });

  test('of 64 KiB is taken, and a longer one is refused before it is whole', () => {
    const empty = request('X: ').length;
    const longest = request(`X: ${'a'.repeat(MAX_HEAD_BYTES - empty)}`);
    expect(longest.length).toBe(MAX_HEAD_BYTES);
    expect(parse(longest)).toMatchObject({ method: 'POST' });
    expect(parse(request(`X: ${'a'.repeat(MAX_HEAD_BYTES - empty + 1)}`))).toBe('refused');
    expect(parse('GET / HTTP/1.1\r\nX: '.padEnd(MAX_HEAD_BYTES, 'a'))).toBe('refused');
  });

  test('of many spaces is parsed in a moment', () => {
    expect(parse(request(`X: a${' '.repeat(60_000)}b`))).toMatchObject({ method: 'POST' });
  });

  test('that is refused does not show the value of a header', () => {
    const head = Buffer.from(request('X-Registry-Auth: hunter2\x01'), 'latin1');
    expect(() => parseRequestHead(head)).toThrow(ParseError);
    expect(() => parseRequestHead(head)).not.toThrow(/hunter2/);
  });
});

describe('a head as it is passed on', () => {
  const passed = (head: string) => {
    const bytes = Buffer.from(head, 'latin1');
    return closingHead(bytes, parseRequestHead(bytes)).toString('latin1');
  };

  test('asks for the end of the connection, whatever it asked for before', () => {
    for (const said of [
      '',
      'Connection: keep-alive\r\n',
      'cOnnection: x\r\nKeep-Alive: 5\r\nProxy-Connection: y\r\n',
    ]) {
      expect(passed(`GET /x HTTP/1.1\r\nA: \xe9\r\n${said}B:c\r\n\r\n`)).toBe(
        'GET /x HTTP/1.1\r\nA: \xe9\r\nB:c\r\nConnection: close\r\n\r\n',
      );
    }
  });

  test('can be read again, and says the same', () => {
    fc.assert(
      fc.property(fc.array(fc.stringMatching(/^[A-Za-z-]{1,12}: ?[ -~]{0,20}$/), { maxLength: 8 }), (lines) => {
        const head = Buffer.from(['PUT /x HTTP/1.1', ...lines, '', ''].join('\r\n'), 'latin1');
        let before: RequestHead;
        try {
          before = parseRequestHead(head);
        } catch {
          return;
        }
        expect(parseRequestHead(closingHead(head, before))).toEqual(before);
      }),
    );
  });
});
