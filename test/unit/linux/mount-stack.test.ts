import { expect, test } from 'vitest';
import { parseMountInfo } from '../../../src/linux/mount-stack.ts';

test('mounts are read with their escapes, whatever optional fields they have', () => {
  const text = [
    '66 63 0:4 net:[4026532247] /run/netns/o rw shared:22 - nsfs nsfs rw',
    '67 1 0:5 / /mnt/with\\040space\\134 rw,nosuid master:2 propagate_from:1 - tmpfs none rw',
    '',
  ].join('\n');
  expect(parseMountInfo(text)).toEqual([
    { id: 66, parent: 63, root: 'net:[4026532247]', mountPoint: '/run/netns/o' },
    { id: 67, parent: 1, root: '/', mountPoint: '/mnt/with space\\' },
  ]);
});

test.each(['x 1 0:5 / /mnt rw - tmpfs none rw', '1 2 3', '66 63 0:4 / mnt rw - a b c'])(
  'the line "%s" is refused',
  (line) => {
    expect(() => parseMountInfo(`${line}\n`)).toThrow(/mountinfo: expected ID, parent/);
  },
);
