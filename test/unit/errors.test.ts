import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { failedWith, NotYetError } from '../../src/errors.ts';
import { SyscallError } from '../../src/linux/libc.ts';

function errorOf(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return error;
  }
}

test('an error number is told by its name, of a system call of ours and of one of node', () => {
  const ours = new SyscallError('openat2', 2, '/nowhere');
  const ofNode = errorOf(() => readFileSync('/nowhere/at/all'));
  for (const error of [ours, ofNode]) {
    expect([failedWith(error, 'ENOENT'), failedWith(error, 'EACCES', 'ENOENT')]).toEqual([true, true]);
    expect(failedWith(error, 'EACCES')).toBe(false);
  }
});

test('what is no failed system call has no error number', () => {
  const coded = Object.assign(new Error('ENOENT'), { code: 'ENOENT', errno: '2' });
  for (const error of [new NotYetError('ENOENT', 'ENOENT'), coded, { errno: 2 }, 2, undefined]) {
    expect(failedWith(error, 'ENOENT')).toBe(false);
  }
});
