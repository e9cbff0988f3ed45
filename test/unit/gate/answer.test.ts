import { describe, expect, test } from 'vitest';
import { format, refusal } from '../../../src/gate/answer.ts';

describe('a refusal of the gate', () => {
  const why = { status: 403, cause: 'no_podman_user', message: 'allocation 1a2b… has no podman_user' };

  test('has the form of a libpod error, with a length in bytes, and ends the connection', () => {
    const [head, body = ''] = format(refusal(why)).toString().split('\r\n\r\n');
    expect(JSON.parse(body)).toEqual({
      cause: 'no_podman_user',
      message: 'nomad-rootless: allocation 1a2b… has no podman_user',
      response: 403,
    });
    expect(head?.split('\r\n')).toEqual([
      'HTTP/1.1 403 Forbidden',
      'content-type: application/json',
      `content-length: ${Buffer.byteLength(body)}`,
      'connection: close',
    ]);
  });
});
