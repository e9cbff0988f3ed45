import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ConfigError } from '../../../src/config/config-error.ts';
import { loadConfig } from '../../../src/config/load-config.ts';

let directory: string;
let file: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'nomad-rootless-config-'));
  file = join(directory, 'config.yaml');
});
afterEach(() => rmSync(directory, { recursive: true }));

function load(text: string, env: Record<string, string> = {}) {
  writeFileSync(file, text);
  return loadConfig({ file, env });
}

function problems(text: string, env: Record<string, string> = {}): readonly string[] {
  try {
    load(text, env);
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split('\n');
    throw error;
  }
  throw new Error('expected a ConfigError');
}

describe('what is loaded', () => {
  test('an empty file gives the defaults', () => {
    const { config, origin } = load('');
    expect(config).toMatchObject({
      nomad: { address: 'http://127.0.0.1:4646', skipVerify: false, token: undefined },
      metaKey: 'podman_user',
      minUid: 1000,
      idmap: 'auto',
      ordering: 'gate',
      gate: { dir: '/run/nomad-rootless/gate', timeoutMs: 30_000 },
      metrics: { address: { host: '127.0.0.1', port: 4656 }, group: undefined },
      admin: { socket: '/run/nomad-rootless/admin.sock' },
      stateDir: '/run/nomad-rootless/state',
      resyncIntervalMs: 300_000,
      log: { level: 'info', format: 'auto' },
    });
    expect(config.users.size).toBe(0);
    expect(new Set(origin.values())).toEqual(new Set(['default']));
  });

  test('sections and users with nothing below them are the same as empty ones', () => {
    const { config } = load('nomad:\ngate:\nusers:\n  alice:\n  bob: {socket: /run/bob.sock}\n');
    expect(config.users).toEqual(
      new Map([
        ['alice', { socket: undefined }],
        ['bob', { socket: '/run/bob.sock' }],
      ]),
    );
  });

  test('durations become milliseconds', () => {
    const { config } = load('gate: {timeout: 1.5s}\nresync_interval: 1h30m\n');
    expect(config.gate.timeoutMs).toBe(1500);
    expect(config.resyncIntervalMs).toBe(5_400_000);
  });

  test('each value says where it comes from, the environment winning over the file', () => {
    const { config, origin } = load('nomad: {address: "http://a:1", skip_verify: true}\nusers: {a.b: {socket: /s}}\n', {
      NOMAD_ADDR: 'unix:///run/api.sock',
    });
    expect(config.nomad.address).toBe('unix:///run/api.sock');
    expect(Object.fromEntries(origin)).toMatchObject({
      'nomad.address': 'env',
      'nomad.skip_verify': 'file',
      'nomad.token': 'default',
      'users.a.b.socket': 'file',
      idmap: 'default',
    });
  });

  test('NOMAD_TOKEN puts the token file of the file aside', () => {
    const { config } = load('nomad: {token_file: /t}\n', { NOMAD_TOKEN: 'from-env' });
    expect(config.nomad).toMatchObject({ token: 'from-env', tokenFile: undefined });
  });

  test('a policy has its entries in their order, for all jobs where none are named', () => {
    const { config } = load(
      'users: {alice: , bob: }\npolicy:\n- {namespace: "a*", users: [alice, bob]}\n- {namespace: b, jobs: "x-*", users: []}\n',
    );
    expect(config.policy).toEqual([
      { namespace: 'a*', jobs: '*', users: new Set(['alice', 'bob']) },
      { namespace: 'b', jobs: 'x-*', users: new Set() },
    ]);
    const { config: wide } = load('users: {alice: }\npolicy:\n- {namespace: a, users: [alice], host_paths: all}\n');
    expect(wide.policy).toEqual([{ namespace: 'a', jobs: '*', users: new Set(['alice']), hostPaths: 'all' }]);
    expect(load('').config.policy).toBeUndefined();
  });

  test('a metrics address of "off" is none', () => {
    expect(load('metrics: {address: "off"}\n').config.metrics.address).toBeUndefined();
  });
});

describe('what is refused', () => {
  test('all problems are told at once, each with its line, what was expected and what was there', () => {
    const text = ['gate:', '  timeout: 90s', 'min_uid: 0', 'state_dir: run', 'access: acl'].join('\n');
    expect(problems(text)).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/config\.yaml:2: gate\.timeout: expected a duration .* below 60s.*, got "90s"$/),
        expect.stringMatching(/config\.yaml:3: min_uid: expected a whole number above 0, got 0$/),
        expect.stringMatching(/config\.yaml:4: state_dir: expected an absolute path.*, got "run"$/),
        expect.stringMatching(/config\.yaml:5: access: expected no key access: .* remove it, got "acl"$/),
      ]),
    );
    expect(problems(text)).toHaveLength(4);
  });

  test.each([
    ['gate: {timout: 1s}', 'gate.timout: expected a known key; did you mean gate.timeout?'],
    ['timeout: 1s', 'timeout: expected a known key; did you mean gate.timeout?'],
    ['meta-key: x', 'meta-key: expected a known key; did you mean meta_key?'],
    ['users: {alice: {sock: /x}}', 'users.alice.sock: expected a known key; did you mean users.alice.socket?'],
    ['log: {banana: 1}', 'log.banana: expected a known key; known here: level, format'],
  ])('the unknown key of %s', (text, problem) => {
    expect(problems(text)).toEqual([`${file}:1: ${problem}`]);
  });

  test.each([
    ['policy:', 'policy: expected a list of {namespace, jobs, users, host_paths}, got null'],
    ['policy: {namespace: a}', 'policy: expected a list of {namespace, jobs, users, host_paths}, got a mapping'],
    [
      'policy: [{users: [alice]}]',
      'policy.0.namespace: expected a namespace, where * stands for any text, got nothing',
    ],
    ['policy: [{namespace: a}]', 'policy.0.users: expected a list of user names, got nothing'],
    ['policy: [{namespace: a, users: [bob]}]', 'policy.0.users.0: expected one of users (alice), got "bob"'],
    [
      'policy: [{namespace: a, users: [alice], host_paths: /srv}]',
      'policy.0.host_paths: expected all, or no such key, got "/srv"',
    ],
    ['policy: [{namespace: a, user: [alice], users: []}]', 'policy.0.user: expected a known key; did you mean users?'],
  ])('of %s, which would let nobody or everybody in by mistake', (text, problem) => {
    expect(problems(`users: {alice: }\n${text}`)).toEqual([`${file}:2: ${problem}`]);
  });

  test('a conflict between keys is told beside other problems', () => {
    const found = problems('nomad:\n  token: t\n  token_file: /t\n  client_key: /k\n  nonsense: 1\n');
    expect(found).toEqual(
      expect.arrayContaining([
        expect.stringContaining('config.yaml:3: nomad.token_file: expected only one of'),
        expect.stringContaining('nomad.client_cert: expected nomad.client_cert and nomad.client_key together'),
        expect.stringContaining('config.yaml:5: nomad.nonsense: expected a known key'),
      ]),
    );
  });

  test('a wrong variable is named by its name, without a line of the file', () => {
    expect(problems('', { NOMAD_SKIP_VERIFY: 'yes' })).toEqual([
      'NOMAD_SKIP_VERIFY: expected true or false, got "yes"',
    ]);
  });

  test('a token is not shown, however wrong it is', () => {
    const [problem] = problems('nomad: {token: [geheim]}\n');
    expect(problem).toMatch(/nomad\.token: expected .*, got \(hidden\)$/);
  });

  test.each(['- a list', 'just a text', '5'])('a file that is %j and no mapping', (text) => {
    expect(problems(text)).toEqual([expect.stringContaining('expected a mapping of keys')]);
  });

  test('a text that is no YAML', () => {
    expect(problems('a: [\n')).toEqual([expect.stringMatching(/config\.yaml:2: expected YAML: /)]);
  });
});

describe('the file itself', () => {
  test('one that is named has to be there', () => {
    expect(() => loadConfig({ file, env: {} })).toThrow(expect.objectContaining({ code: 'config_missing' }));
  });

  test('one that is too large is not read', () => {
    expect(() => load(`#${'x'.repeat(1024 * 1024)}`)).toThrow(expect.objectContaining({ code: 'file_too_large' }));
  });

  test('a directory in its place is an error that names it', () => {
    expect(() => loadConfig({ file: directory, env: {} })).toThrow(
      expect.objectContaining({ code: 'file_unreadable', message: `cannot read ${directory}` }),
    );
  });
});
