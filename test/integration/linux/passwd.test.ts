import { userInfo } from 'node:os';
import { expect, test } from 'vitest';
import { lookUpAccount } from '../../../src/linux/passwd.ts';

const never = new AbortController().signal;

test('finds a user by name and by uid, with the home', async () => {
  const { username: name, uid, gid, homedir: home } = userInfo();
  expect(await lookUpAccount(name, never)).toEqual({ name, uid, gid, home });
  expect(await lookUpAccount(uid, never)).toMatchObject({ uid });
});

test.each(['no-such-user', 2_000_000_001])('says that there is no %s', async (user) => {
  expect(await lookUpAccount(user, never)).toBeUndefined();
});

// strtoul(3), which getent(1) reads a key by, takes each of these for a uid: root's, or modulo 2^32 root's.
test.each(['0', '+0', '-0', ' 0', '\t+0', '4294967296', '-4294967296'])(
  'takes %j for no name: it would be root by another spelling',
  async (name) => {
    expect(await lookUpAccount(name, never)).toBeUndefined();
  },
);

test.each(['', 'root:x', 'root\0', 'root\nroot', 'r'.repeat(100_000), '--version', '-s', '-sfiles'])(
  'asks nothing else of getent with %j for a name',
  async (name) => {
    expect(await lookUpAccount(name, never)).toBeUndefined();
  },
);

test('says that the name service has not answered when it is given up', async () => {
  await expect(lookUpAccount('root', AbortSignal.abort(new Error('too slow')))).rejects.toMatchObject({
    code: 'name_service',
    retryable: true,
    cause: { message: 'too slow' },
  });
});
