/**
 * `npm test`: runs vitest, as root inside a throwaway sandbox, where kernel and e2e tests have one a file (sandbox-pool.ts), and
 * ends with a line of counts.
 * `--nomad` runs only the cases that need a real Nomad, `--systemd` those that boot one (run-systemd.ts), `--soak` the soak for
 * ten minutes, or as many seconds as SOAK_SECONDS says; anything else is a filter for vitest.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { isInNamespaces, runInNamespaces } from './namespaces.ts';

/** What we read of the file that vitest's JSON reporter writes. */
const Results = z.object({
  numPassedTests: z.number(),
  numFailedTests: z.number(),
  numPendingTests: z.number(),
  numTodoTests: z.number(),
  testResults: z.array(
    z.object({
      name: z.string(),
      status: z.string(),
      assertionResults: z.array(z.object({ status: z.string(), fullName: z.string() })),
    }),
  ),
});

interface Counts {
  passed: number;
  failed: number;
  skipped: readonly string[];
}

const [, script = '', ...args] = process.argv;
const root = process.getuid?.() === 0;
process.exitCode =
  root && !isInNamespaces() ? await runInNamespaces([process.execPath, script, ...args]) : await test();

async function test(): Promise<number> {
  using program = new DisposableStack();
  const filters = args.filter((arg) => !['--nomad', '--systemd', '--soak', '--packages'].includes(arg));
  // Kept from run to run: a test file's imports and each agent it starts are compiled once.
  process.env.NODE_COMPILE_CACHE ??= join(import.meta.dirname, '../../node_modules/.cache/node');
  if (args.includes('--soak')) process.env.SOAK_SECONDS ??= '600';
  // An edit and one test have no build between them.
  if (root && filters.length === 0) process.env['AGENT_PROGRAM'] = buildProgram(program);
  const projects = chooseProjects();
  const directory = mkdtempSync(join(tmpdir(), 'nomad-rootless-tests-'));
  const resultsFile = join(directory, 'results.json');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${resultsFile}`];
  const vitest = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs');
  const child = spawn(
    process.execPath,
    [vitest, 'run', '--configLoader=native', ...projects.map((name) => `--project=${name}`), ...reporters, ...filters],
    { stdio: 'inherit' },
  );
  const exitCode = await once(child, 'exit').then(([code]): number => code ?? 1);
  const { passed, failed, skipped } = count(resultsFile, exitCode);
  rmSync(directory, { recursive: true });

  for (const title of skipped) console.log(`skipped: ${title}`);
  if (!root) console.log('skipped: the kernel and e2e tests, which need root');
  console.log(`${passed} passed, ${failed} failed${skipped.length === 0 ? '' : `, ${skipped.length} skipped`}`);
  return failed === 0 ? 0 : 1;
}

/** Where every sandbox sees it: beside the packages. @returns the path of the program that agents are started from */
function buildProgram(disposables: DisposableStack): string {
  const cache = join(import.meta.dirname, '../../node_modules/.cache');
  mkdirSync(cache, { recursive: true });
  const directory = mkdtempSync(join(cache, 'agent-'));
  disposables.defer(() => rmSync(directory, { recursive: true }));
  execFileSync(process.execPath, [join(import.meta.dirname, '../../scripts/build.ts'), directory], { stdio: 'pipe' });
  return join(directory, 'nomad-rootless.mjs');
}

function chooseProjects(): string[] {
  if (args.includes('--nomad')) return ['nomad'];
  if (args.includes('--systemd')) return ['systemd'];
  if (args.includes('--soak')) return ['soak'];
  if (args.includes('--packages')) return ['packages'];
  return root ? ['unit', 'integration', 'kernel', 'e2e', 'soak'] : ['unit', 'integration'];
}

/** Counts tests. A file that could not be loaded, and a run that failed for another reason, counts as one failure. */
function count(resultsFile: string, exitCode: number): Counts {
  let text: string;
  try {
    text = readFileSync(resultsFile, 'utf8');
  } catch {
    console.error(`vitest ended with exit code ${exitCode} and left no results`);
    return { passed: 0, failed: 1, skipped: [] };
  }
  const results = Results.parse(JSON.parse(text));
  const unloaded = results.testResults.filter(
    (file) => file.status === 'failed' && file.assertionResults.every(({ status }) => status !== 'failed'),
  );
  const failed = results.numFailedTests + unloaded.length;
  const skipped = results.testResults.flatMap((file) =>
    file.assertionResults
      .filter(({ status }) => !['passed', 'failed'].includes(status))
      .map(({ fullName }) => fullName),
  );
  return { passed: results.numPassedTests, failed: failed === 0 && exitCode !== 0 ? 1 : failed, skipped };
}
