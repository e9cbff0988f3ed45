import { expect, test } from 'vitest';
import { mountStackIn } from '../../../src/linux/mount-stack.ts';

const MOUNTS = [
  '1 0 8:1 / / rw - ext4 /dev/sda rw',
  '11 1 0:20 / /run rw shared:5 - tmpfs tmpfs rw',
  '66 11 0:4 net:[4026532247] /run/netns/o rw shared:22 - nsfs nsfs rw',
  '67 66 0:4 net:[4026532248] /run/netns/o rw,nosuid master:2 propagate_from:1 - nsfs nsfs rw',
  '167 1 0:5 /with\\040space\\134 /mnt/a\\040b rw - tmpfs none rw',
  '',
].join('\n');

test.each([
  [67, ['net:[4026532248]', 'net:[4026532247]']],
  [66, ['net:[4026532247]']],
  [167, ['/with space\\']],
  [1, ['/']],
  [6, []],
])('over one another at the place of mount %i are %j', (id, stack) => {
  expect(mountStackIn(MOUNTS, id)).toEqual(stack);
});

test.each(['66 x 0:5 / /mnt rw - tmpfs none rw', '66 2 3', '66 63 0:4 / mnt rw - a b c'])(
  'the line "%s" is refused',
  (line) => {
    expect(() => mountStackIn(`${line}\n`, 66)).toThrow(/mountinfo: expected ID, parent/);
  },
);
