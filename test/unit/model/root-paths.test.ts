import { describe, expect, test } from 'vitest';
import type { Task } from '../../../src/model/allocation.ts';
import { rootPathRefusal } from '../../../src/model/root-paths.ts';
import { taskOf } from '../../support/allocation-of.ts';

const refusalOf = (task: Partial<Task>, { users = 1, keepsDisk = false } = {}) =>
  rootPathRefusal({ keepsDisk }, [taskOf('other'), taskOf('t', task)], users);
const template = (destination: string, more = {}) => ({
  templates: [{ source: '', destination, isEnvironment: false, ...more }],
});

const IN_SECRETS = ['secrets/x', '/secrets/x', './secrets//a/b', 'local/../secrets/x'];
const ELSEWHERE = [
  'local/x',
  'x',
  '',
  'secrets',
  'secrets/',
  'secrets/..',
  'secrets/../local/x',
  '../t/secrets/x',
  '/../secrets/local/x',
  '/secrets/../../secrets/local/x',
  '$' + '{NOMAD_SECRETS_DIR}/x',
  '$' + '{NOMAD_TASK_DIR}/x',
  '$' + '{NOMAD_SECRETS_DIR}x/y',
  '$' + '{NOMAD_SECRETS_DIR}/../local/x',
  '$' + '{env["X"]}/x',
];

describe('what Nomad does as root by name', () => {
  test.each(IN_SECRETS)('with a template that it reads back from %s is let through', (destination) => {
    expect(refusalOf(template(destination, { isEnvironment: true }))).toBeUndefined();
  });

  test.each(ELSEWHERE)('with a template that it reads back from %j is refused', (destination) => {
    expect(refusalOf(template(destination, { isEnvironment: true }))).toMatchObject({
      code: 'unsafe_template',
      reason: expect.stringMatching(/^task t: .*use a destination below secrets\/$/),
    });
  });

  test('with a template that it only renders is let through anywhere: that has a sandbox', () => {
    for (const destination of ELSEWHERE) expect(refusalOf(template(destination))).toBeUndefined();
  });

  test('with a template that another user of the group could be read or written through is refused', () => {
    for (const one of [template('local/x'), template('secrets/x', { source: 'local/x.tpl' })]) {
      expect(refusalOf(one, { users: 2 })).toMatchObject({ code: 'unsafe_template' });
      expect(refusalOf(one)).toBeUndefined();
    }
    expect(refusalOf(template('secrets/x', { source: 'secrets/x.tpl' }), { users: 2 })).toBeUndefined();
  });

  test.each(ELSEWHERE.filter((path) => path !== ''))('with an identity that is written to %j is refused', (path) => {
    expect(refusalOf({ identityFiles: ['secrets/a', path] })).toMatchObject({ code: 'unsafe_identity' });
  });

  test('with an identity that is written below secrets/ is let through', () => {
    expect(refusalOf({ identityFiles: IN_SECRETS })).toBeUndefined();
  });

  test.each(['../x', '../../alloc/data/p', '/../../t2/local/p', 'a/../../x', '..', '$' + '{env["X"]}'])(
    'with the payload of a dispatch that leaves local/ by %j is refused',
    (dispatchPayload) => {
      expect(refusalOf({ dispatchPayload })).toMatchObject({ code: 'unsafe_dispatch_payload' });
    },
  );

  test.each([
    '../alloc/data/x',
    '../alloc/tmp',
    '/../alloc/data',
    '../other/local',
    '../.shared/x',
    '../..',
    '$' + '{X}/y',
  ])('with an artifact that goes to %j, where other containers write, is refused', (destination) => {
    expect(refusalOf({ artifacts: ['local/', destination] })).toMatchObject({ code: 'unsafe_artifact' });
  });

  test('with artifacts in its own directory or at the top of alloc/ is let through', () => {
    expect(refusalOf({ artifacts: ['', 'local/', 'conf', '../alloc/x', '../alloc/x/data'] })).toBeUndefined();
  });

  test('with the payload of a dispatch is refused where an earlier container left something in local/', () => {
    expect(refusalOf({ dispatchPayload: 'in.json' })).toBeUndefined();
    expect(refusalOf({ dispatchPayload: 'in.json' }, { keepsDisk: true })).toMatchObject({
      code: 'unsafe_dispatch_payload',
    });
  });
});
