import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DIRECTORIES, GateBench, ID, ok, post } from '../../support/gate-bench.ts';
import { longestStepOf } from '../../support/longest-step.ts';

let root: string;

beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'host-paths-')));
  // The child that looks for links runs as the user of the test, who is root in the sandbox.
  mkdirSync(join(root, 'nomad', 'alloc', ID, 't', 'local'), { recursive: true });
  mkdirSync(join(root, 'nomad', 'alloc', ID, 't', 'secrets'));
  mkdirSync(join(root, 'srv'));
});
afterEach(() => rmSync(root, { recursive: true }));

/** The verdict on a create that mounts these; `passed`, or the code and the message of the refusal. */
async function verdictOn(sources: readonly string[], fields: object = {}, mayNameAllPaths = false): Promise<string> {
  const dataDir = join(root, 'nomad');
  const allocDir = join(dataDir, 'alloc');
  const directories = { ...DIRECTORIES, dataDir, allocDir, canonicalAllocDir: allocDir, guarded: [dataDir] };
  await using bench = new GateBench({ directories: async () => directories });
  bench.readiness.grants = { mayNameAllPaths };
  await bench.rawPodman((peer) =>
    peer.socket.once('data', () => peer.socket.end(ok('{"Id":"c0ffee"}', '201 Created'))),
  );
  await bench.open();
  const mounts = [join(allocDir, ID, 'alloc'), ...sources].map((source) => ({ type: 'bind', source }));
  const body = JSON.stringify({ name: `t-${ID}`, mounts, ...fields });
  const client = bench.client().write(post('/v1.0.0/libpod/containers/create', body));
  await client.seesEnd();
  const [, json = ''] = client.text.split('\r\n\r\n');
  const answer: { Id?: string; cause?: string; message?: string } = JSON.parse(json);
  return answer.Id ? 'passed' : `${answer.cause}: ${answer.message}`;
}

describe('a create', () => {
  test('that mounts a directory above the data dir is refused, and told what to do', async () => {
    expect(await verdictOn([root])).toBe(
      `host_path_refused: nomad-rootless: mounts.1.source ${JSON.stringify(root)} leads to ${root}, which holds ${root}/nomad, which containers may not name: through such paths they would reach all allocations of user alice; name what the task needs in there, or ask the operator for host_paths: all in the policy of nomad-rootless's config`,
    );
    expect(await verdictOn(['/'])).toMatch(/^host_path_refused: .*mounts.1.source "\/" leads to/);
  });

  test.each(['/proc', '/proc/self/root/srv', '/proc/1/cwd'])('that mounts %s is refused', async (path) => {
    expect(await verdictOn([path])).toMatch(/^host_path_refused: .* leads to \/proc, which/);
  });

  test('that names /proc elsewhere than in a mount is refused', async () => {
    expect(await verdictOn([], { devices: [{ path: '/proc/self/root/dev/sda:/dev/x' }] })).toMatch(
      /^host_path_refused: .*devices.0.path "\/proc\/self\/root\/dev\/sda"/,
    );
    expect(await verdictOn([], { ipcns: { nsmode: 'path', value: '/proc/1/ns/ipc' } })).toMatch(
      /^host_path_refused: .*ipcns.value/,
    );
    expect(await verdictOn([], { pidns: { nsmode: 'host' } })).toMatch(/^host_path_refused: .*pidns/);
    expect(await verdictOn([], { pidns: { nsmode: 'host' } }, true)).toBe('passed');
  });

  test('that a symlink leads there is refused', async () => {
    symlinkSync('/', join(root, 'srv', 'up'));
    symlinkSync(join(root, 'nomad', 'alloc'), join(root, 'srv', 'alloc'));
    symlinkSync('up/proc/self/root', join(root, 'srv', 'proc'));
    expect(await verdictOn([join(root, 'srv', 'up')])).toMatch(/^host_path_refused: .*srv\/up" leads to \//);
    expect(await verdictOn([join(root, 'srv', 'alloc', ID)])).toMatch(/^host_path_refused: .*leads to what is in/);
    expect(await verdictOn([join(root, 'srv', 'proc')])).toMatch(/^host_path_refused: /);
    expect(await verdictOn([], { seccomp_profile_path: join(root, 'srv', 'up', 'proc', 'self') })).toMatch(
      /^host_path_refused: .*seccomp_profile_path/,
    );
  });

  test('that mounts what else there is passes: a directory, what a link leads to elsewhere, what is not there', async () => {
    writeFileSync(join(root, 'srv', 'file'), '');
    symlinkSync('file', join(root, 'srv', 'link'));
    expect(await verdictOn([join(root, 'srv'), join(root, 'srv', 'link'), join(root, 'srv', 'none', 'x')])).toBe(
      'passed',
    );
    expect(await verdictOn([], { seccomp_profile_path: 'profile.json' })).toBe('passed');
  });

  test('that mounts what in its allocation is a link out of it is refused; one that stays in there passes', async () => {
    const local = join(root, 'nomad', 'alloc', ID, 't', 'local');
    symlinkSync('/', join(local, 'out'));
    symlinkSync('../../../../../srv', join(local, 'up'));
    symlinkSync('conf.d', join(local, 'conf'));
    mkdirSync(join(local, 'conf.d'));
    for (const name of ['out', 'out/etc', 'up']) {
      expect(await verdictOn([join(local, name)])).toMatch(/^link_out_of_allocation: .*leads out of the allocation/);
    }
    expect(await verdictOn([local, join(local, 'conf'), join(local, 'none')])).toBe('passed');
  });

  test('passes with all of that where the policy lets it name all paths', async () => {
    symlinkSync('/', join(root, 'srv', 'up'));
    expect(await verdictOn(['/', '/proc', join(root, 'srv', 'up')], {}, true)).toBe('passed');
  });

  test('that mounts links to links to links, or very deep directories, keeps nobody waiting', async () => {
    const own = join(root, 'nomad', 'alloc', ID, 't', 'local', 'b');
    mkdirSync(own);
    const deep = join(root, 'srv', ...Array.from({ length: 1900 }, () => 'd'));
    mkdirSync(deep, { recursive: true });
    const detour = '../b/'.repeat(800);
    for (let link = 0; link < 39; link++) symlinkSync(`${detour}l${link - 1}`, join(own, `l${link}`));
    const links = Array.from({ length: 20 }, () => join(own, 'l38'));
    const sources = [...links, join(deep, 'x1'), join(deep, 'x2')];
    let verdicts: string[] = [];
    const longest = await longestStepOf(async () => {
      verdicts = await Promise.all([verdictOn(sources), verdictOn(sources)]);
    });
    expect(verdicts).toEqual(['passed', 'passed']);
    // More than a second with all looks in one turn; a busy machine makes of a look twice its time.
    expect(longest).toBeLessThan(400);
  });
});
