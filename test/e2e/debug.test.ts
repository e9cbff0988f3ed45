import { chmodSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { unpackTar } from 'modern-tar';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../src/cli/exit-code.ts';
import { mustRun, runCommand } from '../support/command.ts';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { requires } from '../support/requires.ts';
import { type StandInNomad, startStandInNomad } from '../support/stand-in-nomad.ts';
import { driverFailure, jobOf, runJob, shell } from './cases.ts';

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname;
const PORT = 14_646;
const ADDRESS = `http://127.0.0.1:${PORT}`;
const TOKEN = 'planted-token-7b36dcd';

requires(
  'root',
  'sandbox',
  'podman',
)('debug', () => {
  let environment: Environment<StandInNomad>;

  beforeAll(async () => {
    const tokens = { [TOKEN]: 'all' } as const;
    environment = await startEnvironment({
      startNomad: (options) => startStandInNomad({ ...options, tokens, apiPort: PORT }),
      config: { nomad: { address: ADDRESS, token: TOKEN } },
      prepare: async (sandbox) => {
        const journalctl = join(sandbox.directory, 'journalctl');
        writeFileSync(
          journalctl,
          `#!/bin/sh\nprintf '%s\\n' 'from the log' 'sent X-Nomad-Token: planted-log' 'with ${TOKEN}'\n`,
        );
        chmodSync(journalctl, 0o755);
        await mustRun(['mount', '--bind', journalctl, '/usr/bin/journalctl']);
        const mounted = join(sandbox.directory, 'mounted');
        mkdirSync(mounted);
        await mustRun(['mount', '-t', 'tmpfs', 'https://reader:planted-mount@files/', mounted]);
        return async () => {
          await mustRun(['umount', '/usr/bin/journalctl']);
          await mustRun(['umount', mounted]);
        };
      },
    });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  const output = (name: string) => join(environment.sandbox.directory, name);
  const debug = (path: string) =>
    runCommand([process.execPath, MAIN, 'debug', '--output', path, '--config', environment.agent.configFile], {
      env: { PATH: String(process.env['PATH']), VAULT_TOKEN: 'planted-environment' },
    });

  async function unpacked(path: string): Promise<Map<string, string>> {
    const entries = await unpackTar(gunzipSync(readFileSync(path)));
    return new Map(
      entries.map(({ header, data }) => [header.name.replace(/^[^/]*\//, ''), Buffer.from(data ?? []).toString()]),
    );
  }

  test('collects what the host, the agent, Nomad and the users` Podmans say, and no secret of any of them', async () => {
    const { nomad, agent } = environment;
    const env = { PLAIN: 'planted-variable' };
    const meta = { note: 'planted-meta' };
    const sleep = 'exec sleep 1000';
    const running = await runJob(nomad, jobOf('alice', 'runs', shell('t', 'alice', sleep, { env, meta })));
    await running.waitFor('running');
    const volumes = [`${nomad.dataDir}/password=planted-path:/x`];
    const refused = await runJob(nomad, jobOf('alice', 'refused', shell('t', 'alice', sleep, { volumes })));
    expect(await driverFailure(refused, 't')).toContain('planted-path');
    const { stdout: said } = await agent.command(['status', '--json']);
    expect(said).toContain('planted-path');

    const path = output('whole.tar.gz');
    const { code, stdout, stderr } = await debug(path);
    expect({ code, stderr }).toEqual({ code: EXIT.ok, stderr: '' });
    const files = await unpacked(path);
    const names = [...files.keys()];
    expect(names).toEqual(
      expect.arrayContaining([
        'doctor.json',
        'config.json',
        'status.json',
        `allocations/${running.id}.json`,
        'metrics.txt',
        'mountinfo/host.txt',
        'mountinfo/agent.txt',
        expect.stringMatching(/^mountinfo\/alice-\d+\.txt$/),
        'log.txt',
        'about.json',
      ]),
    );
    for (const name of names) expect(stdout).toContain(`  ${name}\n`);
    expect(files.get('log.txt')).toBe('from the log\nsent X-Nomad-Token: [removed]\nwith [removed]\n');
    expect(files.get('mountinfo/host.txt')).toContain('https://[removed]@files/');
    expect(files.get('metrics.txt')).toContain('nomad_rootless_build_info');
    expect(files.get('config.json')).toContain('(hidden)');
    for (const [name, text] of files) expect(text, name).not.toContain('planted');
    expect(statSync(path)).toMatchObject({ uid: 0, mode: 0o100600 });
  });

  test('writes over no file, and follows no link', async () => {
    const [target, link] = [output('target'), output('link.tar.gz')];
    symlinkSync(target, link);
    writeFileSync(output('kept'), 'kept');
    for (const path of [link, output('kept')]) {
      const { code, stderr } = await debug(path);
      expect(code).toBe(EXIT.error);
      expect(stderr).toContain(`${path} is there already`);
    }
    expect(readFileSync(output('kept'), 'utf8')).toBe('kept');
    expect(() => statSync(target)).toThrow(/ENOENT/);
  });

  test('says where the log is of an agent of which the journal has no line', async () => {
    const journalctl = join(environment.sandbox.directory, 'silent-journalctl');
    writeFileSync(journalctl, '#!/bin/sh\n', { mode: 0o755 });
    await mustRun(['mount', '--bind', journalctl, '/usr/bin/journalctl']);
    onTestFinished(async () => void (await mustRun(['umount', '/usr/bin/journalctl'])));
    const { stdout } = await debug(output('silent.tar.gz'));
    expect(stdout).toMatch(/^ {2}log\.txt: the journal has no line of .*: add what `nomad alloc logs` says/m);
    const files = await unpacked(output('silent.tar.gz'));
    expect([...files.keys()]).not.toContain('log.txt');
    expect(files.get('about.json')).toContain('nomad alloc logs');
  });

  test('has what can be had without an agent, with a configuration that cannot be read, and says what it has not', async () => {
    const { agent } = environment;
    await agent.stop();
    onTestFinished(() => agent.start());
    const written = readFileSync(agent.configFile, 'utf8');
    onTestFinished(() => writeFileSync(agent.configFile, written));
    writeFileSync(output('token'), `${TOKEN}\n`, { mode: 0o600 });
    writeFileSync(agent.configFile, written.replace(`token: ${TOKEN}`, `token_file: ${output('token')}`));
    const dead = output('dead.tar.gz');
    const { code, stdout } = await debug(dead);
    expect(code).toBe(EXIT.ok);
    expect(stdout).toMatch(/^ {2}status\.json: the agent is not running/m);
    const files = await unpacked(dead);
    expect(files.get('log.txt')).toContain('with [removed]');
    expect([...files.keys()]).toEqual(
      expect.arrayContaining(['doctor.json', 'config.json', 'log.txt', expect.stringMatching(/^mountinfo\/alice-/)]),
    );

    writeFileSync(agent.configFile, 'nomad: {token: planted-in-bad-file, wrong: 1}\n');
    const bad = output('bad.tar.gz');
    const said = await debug(bad);
    expect(said).toMatchObject({ code: EXIT.ok, stdout: expect.stringMatching(/^ {2}config\.json.*wrong/m) });
    for (const [name, text] of await unpacked(bad)) expect(text, name).not.toContain('planted-in-bad-file');
  });
});
