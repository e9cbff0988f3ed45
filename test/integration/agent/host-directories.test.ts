import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { directoriesBy } from '../../../src/agent/host-directories.ts';
import { pathsElsewhere } from '../../../src/gate/create-target.ts';
import { guardedBy } from '../../../src/gate/guarded-paths.ts';
import { clientPaths } from '../../../src/nomad/agent-self.ts';

let root: string;

beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'host-directories-')));
  mkdirSync(join(root, 'disk', 'alloc'), { recursive: true });
  symlinkSync('disk', join(root, 'data'));
});
afterEach(() => rmSync(root, { recursive: true }));

const config = () => ({
  gate: { dir: join(root, 'run', 'gate'), timeoutMs: 0 },
  stateDir: join(root, 'run', 'state'),
  admin: { socket: join(root, 'admin.sock') },
});

test('a data dir that Nomad names by a symlink is guarded by its canonical name too', () => {
  const directories = directoriesBy(config())(clientPaths(join(root, 'data')));
  expect(directories.canonicalAllocDir).toBe(join(root, 'disk', 'alloc'));
  const foreign = join(root, 'disk', 'alloc', '11111111-2222-3333-4444-555555555555');
  const [path] = pathsElsewhere({ name: 't', mounts: [{ type: 'bind', source: foreign }] }, directories);
  expect(guardedBy(path?.path ?? '', directories.guarded)).toBe(`what is in ${join(root, 'disk')}`);
});

test('the directories of the agent are guarded, and what holds them', () => {
  const { guarded } = directoriesBy(config())(clientPaths(join(root, 'data')));
  for (const path of [root, join(root, 'run'), join(root, 'run', 'state', 'x'), join(root, 'admin.sock')]) {
    expect(guardedBy(path, guarded)).toBeDefined();
  }
});

test('what Nomad`s client keeps elsewhere is guarded too', () => {
  const client = { StateDir: '/srv/nomad/client', HostVolumesDir: '/mnt/volumes' };
  const { clientDirs, guarded } = directoriesBy(config())(clientPaths(join(root, 'data'), client));
  expect(clientDirs).toEqual(['/srv/nomad/client', '/mnt/volumes']);
  expect(guardedBy('/srv', guarded)).toBe('/srv, which holds /srv/nomad/client');
});

test('they are found once for what Nomad says of itself', () => {
  const directories = directoriesBy(config());
  const paths = clientPaths(join(root, 'data'));
  expect(directories(paths)).toBe(directories(paths));
  expect(directories({ ...paths })).not.toBe(directories(paths));
});
