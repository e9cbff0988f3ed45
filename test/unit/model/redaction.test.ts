import { describe, expect, test } from 'vitest';
import { redact } from '../../../src/model/redaction.ts';

describe('what is handed on', () => {
  test.each([
    ['a header', 'X-Nomad-Token: 59f479a6-planted', 'X-Nomad-Token: [removed]'],
    ['a header of a scheme', 'authorization: Bearer planted.and-more', 'authorization: [removed]'],
    ['a variable', 'podman: --env DB_PASSWORD=planted --rm', 'podman: --env DB_PASSWORD=[removed] --rm'],
    ['a key of JSON', '{"secretId": "pla\\"nted", "a": 1}', '{"secretId": "[removed]", "a": 1}'],
    ['a key of JSON within JSON', '{"m":"{\\"token\\":\\"planted\\"}"}', '{"m":"{\\"token\\":\\"[removed]\\"}"}'],
    ['a key of YAML', "api_key: 'planted'\nusers: {}", "api_key: '[removed]'\nusers: {}"],
    ['a text that does not end', 'password="planted and more\nnext', 'password=[removed]\nnext'],
    ['an environment', '{"env":{"A":"}planted"},"b":1}', '{"env":[removed]'],
    ['an environment within JSON', String.raw`{"m":"\"Env\":[\"A=planted\"]"}`, String.raw`{"m":"\"Env\":[removed]`],
    [
      'an environment of many lines',
      '{\n "env": {\n  "A": "planted"\n },\n "b": 1\n}',
      '{\n "env": [removed],\n "b": 1\n}',
    ],
    ['the meta of a job', '"Meta": {"a": "planted"}', '"Meta": [removed]'],
    ['a path', '/srv/password=planted/x is not there', '/srv/password=[removed] is not there'],
    ['a URL', 'http://user:planted@127.0.0.1:4646/v1', 'http://[removed]@127.0.0.1:4646/v1'],
    ['a web token', 'got eyJhbGciOi.eyJzdWIi.planted-x, no', 'got [removed], no'],
    ['a token of Vault', 'with hvs.CAESplanted_x', 'with [removed]'],
    ['a private key', '-----BEGIN EC PRIVATE KEY-----\\nplanted\\n-----END EC PRIVATE KEY-----\\n', '[removed]\\n'],
    ['a private key that does not end', 'x -----BEGIN PRIVATE KEY-----\nplanted', 'x [removed]'],
  ])('has no value of %s', (_, text, expected) => {
    expect(redact(text, [])).toBe(expected);
  });

  test.each([
    'statfs /opt/nomad/data/alloc/1/t/secrets: permission denied',
    '/etc/nomad/token: expected a file, got nothing',
    '/etc/nomad/my-token.key: expected a token, got an empty file',
    'the token is not valid, or its policy lacks: namespace "*"',
    'nomad.token_file: /etc/nomad-rootless/token',
    '"tokenFile": "/etc/nomad-rootless/token"',
    '36 35 0:31 / /opt/nomad/alloc/1/t/secrets rw,nosuid shared:7 - tmpfs tmpfs rw',
    '"meta": [{"level": "task", "value": "alice"}]',
    'allocation=59f479a6-475e-cda8-393d-94fb7a1e1d97',
  ])('has all of %s', (text) => {
    expect(redact(text, [])).toBe(text);
  });

  test('has nothing of what is known to be secret, however it is written', () => {
    const secret = 'pa"ss\\wörd/+';
    const text = [
      secret,
      JSON.stringify({ it: secret }),
      JSON.stringify(JSON.stringify(secret)),
      encodeURIComponent(secret),
      Buffer.from(secret).toString('base64'),
    ].join('\n');
    expect(redact(text, [secret])).toBe('[removed]\n{"it":"[removed]"}\n"\\"[removed]\\""\n[removed]\n[removed]==');
  });

  test('has words that are too short to be a secret', () => {
    expect(redact('alice runs', ['a', 'alice'])).toBe('alice runs');
  });

  test('takes no time that grows out of bounds with what is in it', () => {
    const hostile = `${'token'.repeat(20_000)}\n${'"'.repeat(100_000)}\n${'secret="'.repeat(20_000)}`;
    expect(redact(hostile, [])).not.toContain('secret="secret');
  });
});
