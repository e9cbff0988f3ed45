import { expect, test } from 'vitest';
import { guardedBy } from '../../../src/gate/guarded-paths.ts';

const GUARDED = ['/opt/nomad/data', '/run/nomad-rootless/gate', '/run/nomad-rootless/admin.sock'];

test.each([
  ['/', '/, which holds /opt/nomad/data'],
  ['/opt', '/opt, which holds /opt/nomad/data'],
  ['//opt/./nomad/', '/opt/nomad, which holds /opt/nomad/data'],
  ['/opt/nomad/data', '/opt/nomad/data'],
  ['/opt/nomad/data/alloc', 'what is in /opt/nomad/data'],
  ['/run', '/run, which holds /run/nomad-rootless/gate'],
  ['/run/nomad-rootless/gate/alice.sock', 'what is in /run/nomad-rootless/gate'],
  ['/run/nomad-rootless/admin.sock', '/run/nomad-rootless/admin.sock'],
  ['/proc', '/proc'],
  ['/proc/self/root/srv', '/proc'],
])('%s leads to what is guarded: %s', (path, leadsTo) => {
  expect(guardedBy(path, GUARDED)).toBe(leadsTo);
});

test.each(['/srv', '/opt/nomad-data', '/opt/nomad/other', '/run/user/1001', '/dev/fuse', '/process', '/home/alice'])(
  '%s does not',
  (path) => {
    expect(guardedBy(path, GUARDED)).toBeUndefined();
  },
);
