import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { createMetrics } from '../../src/metrics.ts';
import { VERSION } from '../../src/version.ts';

const CHANGELOG = fileURLToPath(new URL('../../CHANGELOG.md', import.meta.url));
const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
/** As Keep a Changelog has it. */
const RELEASE = /^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d{2}-\d{2}$/m;

/** The version that the changelog says was released last. */
function latestRelease(): string {
  return RELEASE.exec(readFileSync(CHANGELOG, 'utf8'))?.[1] ?? 'none';
}

test('package.json has the version that the changelog says was released last', () => {
  expect(VERSION).toBe(latestRelease());
});

test('--version says it', () => {
  expect(execFileSync(process.execPath, [MAIN, '--version'], { encoding: 'utf8' })).toBe(`${latestRelease()}\n`);
});

test('the metrics of the agent say it', async () => {
  const [info] = (await createMetrics(VERSION).buildInfo.get()).values;
  expect(info).toMatchObject({ value: 1, labels: { version: latestRelease() } });
});
