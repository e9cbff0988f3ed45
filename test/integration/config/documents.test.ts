import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EXIT } from '../../../src/cli/exit-code.ts';
import { ENVIRONMENT } from '../../../src/config/environment.ts';
import { loadConfig } from '../../../src/config/load-config.ts';
import { CONFIG_KEYS } from '../../../src/config/schema.ts';
import { createMetrics, LABELS } from '../../../src/metrics.ts';
import { requires } from '../../support/requires.ts';

const root = join(import.meta.dirname, '../../..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const UNIT = 'deploy/systemd/nomad-rootless.service';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'nomad-rootless-documents-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

function load(text: string) {
  const file = join(directory, 'config.yaml');
  writeFileSync(file, text);
  return loadConfig({ file, env: {} });
}

/** The cells of the table of a page with that header, without backticks. */
function tableOf(path: string, firstHeader: string): string[][] {
  const lines = read(path).split('\n');
  const start = lines.findIndex((line) => line.startsWith(`| ${firstHeader} |`));
  const rows = lines.slice(start + 2);
  return rows.slice(0, rows.indexOf('')).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.replaceAll('`', '').trim()),
  );
}

describe('config.example.yaml', () => {
  const example = read('deploy/config.example.yaml');
  /** A setting is a line that begins with # and no space. One of the two ways to give a token has to go. */
  const uncommented = example.replaceAll(/^( *)#(?=[a-z-])/gm, '$1').replace(/^ *token:.*$/m, '');

  test('as it is, gives the defaults', () => {
    expect(load(example).config).toEqual(load('').config);
  });

  test('with every setting uncommented, is accepted and names every key', () => {
    const { origin } = load(uncommented);
    const named = [...origin].filter(([, from]) => from === 'file').map(([key]) => key);
    expect(named).toEqual(expect.arrayContaining(CONFIG_KEYS.filter((key) => !['users', 'nomad.token'].includes(key))));
    expect(named).toContain('users.bob.socket');
    expect(example).toMatch(/^ *#token: /m);
  });

  test('shows the defaults as they are', () => {
    const shown = load(uncommented).values;
    for (const [key, value] of load('').values) {
      if (value !== undefined) expect([key, shown.get(key)]).toEqual([key, value]);
    }
  });

  test('names every variable that wins over the file', () => {
    expect(Object.values(ENVIRONMENT).filter((name) => !example.includes(name))).toEqual([]);
  });
});

describe('the pages', () => {
  test('have every metric, with its type and labels', async () => {
    const { registry } = createMetrics('0.0.0');
    const metrics = (await registry.getMetricsAsJSON()).filter(({ name }) => name.startsWith('nomad_rootless_'));
    const labelsOf = (name: string): unknown => Reflect.get(registry.getSingleMetric(name) ?? {}, 'labelNames');
    const expected = metrics.map(({ name, type }) => [
      name,
      String(type),
      String(labelsOf(name)).replaceAll(',', ', '),
    ]);
    expect(tableOf('docs/metrics.md', 'Metric').map((row) => row.slice(0, 3))).toEqual(expected);
  });

  test('have every verdict of the gate', () => {
    expect(tableOf('docs/metrics.md', '`verdict`').map(([verdict]) => verdict)).toEqual(LABELS.verdict);
  });

  test('have the exit codes that the commands use', () => {
    const codes = tableOf('docs/operations.md', 'Exit code').map(([code]) => Number(code));
    expect(codes).toEqual(Object.values(EXIT));
  });

  test('show configuration that is accepted', () => {
    const snippets = ['README.md', 'docs/configuration.md', 'docs/operations.md', 'docs/jobs.md'].flatMap((path) =>
      [...read(path).matchAll(/^ *```yaml\n([\s\S]*?)^ *```/gm)].map(([, text = '']) => text),
    );
    expect(snippets.length).toBeGreaterThan(0);
    for (const snippet of snippets) expect(load(snippet).config.users.size).toBeGreaterThan(0);
  });

  test.each(['README.md', 'examples/nomad.hcl'])("%s points the driver at the gates' default place", (path) => {
    const { config } = load('');
    expect(read(path)).toContain(`socket_path = "unix://${config.gate.dir}/alice.sock"`);
  });
});

test("the Nomad job's template renders to a configuration that is accepted", () => {
  const job = read('deploy/nomad/nomad-rootless.nomad.hcl');
  const [, template = ''] = /<<-EOT\n([\s\S]*?)^ *EOT$/m.exec(job) ?? [];
  const { config } = load(template.replaceAll('{{ env "NOMAD_SECRETS_DIR" }}', '/var/nomad/secrets'));
  expect(config.nomad.tokenFile).toBe('/var/nomad/secrets/nomad_token');
  expect([...config.users.keys()]).toEqual(['alice', 'bob']);
  const [, address, port] = /address += "(.+)"\s+port += "(.+)"/.exec(job) ?? [];
  expect({ host: address, port: Number(port) }).toEqual(config.metrics.address);
});

describe('the systemd unit', () => {
  requires('systemd-analyze')('read by systemd', () => {
    test('passes systemd-analyze verify without a word', () => {
      const unit = join(directory, 'nomad-rootless.service');
      writeFileSync(unit, read(UNIT).replaceAll('/usr/bin/nomad-rootless', '/bin/true'));
      const verify = ['verify', '--man=no', unit];
      expect(execFileSync('systemd-analyze', verify, { encoding: 'utf8', stdio: 'pipe' })).toBe('');
    });
  });

  test('gets no mount namespace of its own, and no filter that takes openat2, setns or just-in-time compiling away', () => {
    const settings = read(UNIT)
      .split('\n')
      .map((line) => line.split('=')[0] ?? '');
    const harmful =
      /^(Private(Tmp|Mounts|Devices|Users|Network)|Protect(?!(Clock|Hostname)$)\w+|\w+Paths|Bind\w*Paths|TemporaryFileSystem|Root\w+|DynamicUser|RestrictNamespaces|RestrictSUIDSGID|MemoryDenyWriteExecute)$/;
    expect(settings.filter((name) => harmful.test(name))).toEqual([]);
  });
});
