import { describe, expect, test } from 'vitest';
import { format } from '../../../src/gate/answer.ts';

describe('an answer of the gate', () => {
  const answer = { status: 403, cause: 'no_podman_user', message: 'allocation 1a2b… has no podman_user', close: false };

  test('has the form of a libpod error, with a length in bytes', () => {
    const [head, body = ''] = format(answer).toString().split('\r\n\r\n');
    expect(JSON.parse(body)).toEqual({
      cause: 'no_podman_user',
      message: 'nomad-rootless: allocation 1a2b… has no podman_user',
      response: 403,
    });
    expect(head).toBe(
      `HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}`,
    );
  });

  test('says when the connection ends with it', () => {
    expect(format({ ...answer, close: true }).toString()).toContain('\r\nConnection: close\r\n');
  });
});
