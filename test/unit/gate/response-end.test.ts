import { describe, expect, test } from 'vitest';
import type { RequestHead } from '../../../src/gate/http-head.ts';
import { ResponseEnd } from '../../../src/gate/response-end.ts';

function stateAfter(text: string, request: Partial<RequestHead> = {}, mayHijack = false) {
  const head: RequestHead = {
    method: 'POST',
    target: '/',
    framing: { kind: 'length', length: 0 },
    upgrade: false,
    expect: false,
    ...request,
  };
  const whole = new ResponseEnd(head, mayHijack);
  whole.push(Buffer.from(text));
  const byByte = new ResponseEnd(head, mayHijack);
  for (const byte of Buffer.from(text)) byByte.push(Buffer.from([byte]));
  expect(byByte.state).toBe(whole.state);
  return whole.state;
}

const HIJACKED = 'HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n';

describe('a response', () => {
  test('is complete when its declared body has passed', () => {
    expect(stateAfter('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{')).toBe('body');
    expect(stateAfter('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}')).toBe('complete');
    expect(stateAfter('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n')).toBe('complete');
    expect(stateAfter('HTTP/1.1 204 No Content\r\n\r\n')).toBe('complete');
  });

  test('goes on after 100 Continue', () => {
    expect(stateAfter('HTTP/1.1 100 Continue\r\n\r\n')).toBe('head');
    expect(stateAfter('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')).toBe('complete');
  });

  test('to a hijack makes the connection raw: 101, or 200 without a length', () => {
    expect(stateAfter(HIJACKED, {}, true)).toBe('raw');
    expect(stateAfter(`${HIJACKED}\x01\0\0\0`, {}, true)).toBe('raw');
    expect(stateAfter('HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n', {}, true)).toBe('raw');
    expect(stateAfter('HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n', { upgrade: true })).toBe('raw');
  });

  test('to a hijack that failed leaves the connection framed', () => {
    expect(stateAfter('HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}', {}, true)).toBe('complete');
    expect(stateAfter('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}', {}, true)).toBe('complete');
    expect(stateAfter('HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', {}, true)).toBe('complete');
    expect(stateAfter('HTTP/1.1 404 Not Found\r\n\r\n', {}, true)).toBe('until-close');
  });

  test('never makes a connection raw that asked for no hijack', () => {
    expect(stateAfter(HIJACKED)).toBe('until-close');
    expect(stateAfter('HTTP/1.1 101 x\r\n\r\n')).toBe('until-close');
  });

  test('to HEAD or GET without a length is no hijack, Upgrade or not', () => {
    expect(stateAfter('HTTP/1.1 200 OK\r\n\r\n', { method: 'HEAD', upgrade: true })).toBe('complete');
    expect(stateAfter('HTTP/1.1 200 OK\r\n\r\n', { method: 'GET', upgrade: true })).toBe('until-close');
  });

  test('that closes the connection, or that cannot be read, lets no other request follow', () => {
    expect(stateAfter('HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')).toBe('until-close');
    expect(stateAfter('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nmore')).toBe('until-close');
    expect(stateAfter('HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n')).toBe('until-close');
    expect(stateAfter('hello\r\n\r\n', {}, true)).toBe('until-close');
  });
});
