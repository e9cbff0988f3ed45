import { expect, test } from 'vitest';
import { withoutUser, withUser } from '../../../src/config/edit-users.ts';

const WRITTEN = `# of the platform team
nomad:
  address: http://127.0.0.1:4646 # as ever
users:
  # the first
  bob: {}
log: { level: info }
`;

test('a user comes into a configuration whose comments and order stay', () => {
  const text = withUser(WRITTEN, 'alice');
  expect(text).toBe(WRITTEN.replace('  bob: {}\n', '  bob: {}\n  alice: {}\n'));
  expect(withoutUser(text, 'alice')).toBe(WRITTEN);
});

test.each([
  ['', 'users:\n  alice: {}\n'],
  ['# nothing yet\n', '# nothing yet\n\nusers:\n  alice: {}\n'],
  ['users: {}\n', 'users:\n  alice: {}\n'],
  ['users:\n', 'users:\n  alice: {}\n'],
  ['users: { bob: {} }\n', 'users: { bob: {}, alice: {} }\n'],
  ['min_uid: 500\n', 'min_uid: 500\nusers:\n  alice: {}\n'],
])('%j gets its first user, or one more', (text, expected) => {
  expect(withUser(text, 'alice')).toBe(expected);
});

test('a user who is not there is taken from nowhere', () => {
  expect(withoutUser(WRITTEN, 'carol')).toBe(WRITTEN);
  expect(withoutUser('', 'carol')).toBe('');
});
