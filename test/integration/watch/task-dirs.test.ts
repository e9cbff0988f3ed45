import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { TaskDirsWatch } from '../../../src/watch/task-dirs.ts';
import { recordingLog } from '../../support/recording-log.ts';
import { until } from '../../support/until.ts';

describe('the directories of tasks', () => {
  let allocDir: string;
  let told: string[];
  let watch: TaskDirsWatch;

  beforeEach(() => {
    allocDir = mkdtempSync(join(tmpdir(), 'task-dirs-'));
    told = [];
  });
  afterEach(() => {
    watch.stop();
    rmSync(allocDir, { recursive: true });
  });

  function start(once: boolean): void {
    const log = recordingLog();
    watch = new TaskDirsWatch({ allocDir, others: ['alloc'], once, onAllocation: (id) => told.push(id), log });
    mkdirSync(join(allocDir, 'a/alloc'), { recursive: true });
    watch.follow('a', true);
  }

  test('are told of as they come, and what lies beside them is not', async () => {
    start(false);
    mkdirSync(join(allocDir, 'a/t'));
    await until('one is told of', () => told.length === 1);
    mkdirSync(join(allocDir, 'a/u'));
    await until('the other one is told of', () => told.length === 2);
    expect(told).toEqual(['a', 'a']);
  });

  test('are told of once where that is enough', async () => {
    start(true);
    mkdirSync(join(allocDir, 'a/t'));
    await until('one is told of', () => told.length === 1);
    mkdirSync(join(allocDir, 'a/u'));
    // What happens later is told of later.
    mkdirSync(join(allocDir, 'b/alloc'), { recursive: true });
    watch.follow('b', true);
    mkdirSync(join(allocDir, 'b/t'));
    await until('the next allocation is told of', () => told.includes('b'));
    expect(told).toEqual(['a', 'b']);
  });
});
