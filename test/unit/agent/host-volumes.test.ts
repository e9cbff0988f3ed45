import { expect, test } from 'vitest';
import { HostVolumes } from '../../../src/agent/host-volumes.ts';
import { NotYetError } from '../../../src/errors.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { silent } from '../../support/silent-log.ts';

function setUp() {
  const answers: (Map<string, string> | Error)[] = [];
  const asked = { times: 0 };
  const clock = new ManualClock();
  const ask = async () => {
    asked.times++;
    const answer = answers.shift() ?? new Map<string, string>();
    if (answer instanceof Error) throw answer;
    return answer;
  };
  return { answers, asked, clock, volumes: new HostVolumes(ask, { clock, log: silent }) };
}

const away = new NotYetError('nomad_unreachable', 'Nomad did not answer');

test('host volumes are asked for once by those who ask at once, and again later', async () => {
  const { answers, asked, clock, volumes } = setUp();
  answers.push(new Map([['a', '/1']]), new Map([['a', '/2']]));
  const both = await Promise.all([volumes.paths(['a']), volumes.paths(['a'])]);
  expect(both.map((paths) => paths.get('a'))).toEqual(['/1', '/1']);
  expect(asked.times).toBe(1);
  clock.advance(1000);
  expect((await volumes.paths(['a'])).get('a')).toBe('/2');
});

test('a host volume that is not among what was just said is asked for', async () => {
  const { answers, asked, volumes } = setUp();
  answers.push(
    new Map([['a', '/1']]),
    new Map([
      ['a', '/1'],
      ['b', '/2'],
    ]),
  );
  await volumes.paths(['a']);
  expect((await volumes.paths(['a', 'b'])).get('b')).toBe('/2');
  expect((await volumes.paths(['b'])).get('b')).toBe('/2');
  expect(asked.times).toBe(2);
});

test('host volumes that are known stay so while Nomad is away, and none are made up', async () => {
  const { answers, asked, clock, volumes } = setUp();
  answers.push(away, new Map([['a', '/1']]), away);
  await expect(volumes.paths(['a'])).rejects.toBe(away);
  expect((await volumes.paths(['a'])).get('a')).toBe('/1');
  clock.advance(1000);
  expect((await volumes.paths(['a'])).get('a')).toBe('/1');
  expect(asked.times).toBe(3);
});
