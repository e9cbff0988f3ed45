import { expect, test } from 'vitest';
import { HostWatches } from '../../../src/watch/host-watches.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { recordingLog } from '../../support/recording-log.ts';

const EXHAUSTED = new Error('EMFILE: too many open files, watch');

/** A directory whose watch fails for as long as `works` is false. */
function newDirectory() {
  const directory = { works: false, starts: 0, stops: 0 };
  const start = (onError: (error: Error) => void) => {
    directory.starts++;
    if (!directory.works) onError(EXHAUSTED);
    return () => void directory.stops++;
  };
  return { directory, start };
}

test('a directory that cannot be watched is told of, and is watched at last', () => {
  const { directory, start } = newDirectory();
  const log = recordingLog();
  const watches = new HostWatches({ '/alloc': start }, { clock: new ManualClock(), log });
  expect(watches.warnings()).toEqual([
    expect.stringMatching(/^\/alloc cannot be watched \(EMFILE.*\): .*raise fs\.inotify\.max_user_instances/),
  ]);
  watches.retry();
  expect(watches.warnings()).toHaveLength(1);
  directory.works = true;
  watches.retry();
  expect(watches.warnings()).toEqual([]);
  expect(directory).toMatchObject({ starts: 3, stops: 2 });
  expect(log.lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
});

test('one that is watched is left alone', () => {
  const { directory, start } = newDirectory();
  directory.works = true;
  const watches = new HostWatches({ '/alloc': start }, { clock: new ManualClock(), log: recordingLog() });
  watches.retry();
  expect(directory).toMatchObject({ starts: 1, stops: 0 });
});

test('none is begun once they are stopped', () => {
  const { directory, start } = newDirectory();
  const watches = new HostWatches({ '/alloc': start }, { clock: new ManualClock(), log: recordingLog() });
  watches.stop();
  watches.retry();
  expect(directory).toMatchObject({ starts: 1, stops: 1 });
});
