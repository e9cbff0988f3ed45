import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

/** One thing that runs in the emulated machine: a script of package.json with what is passed to it. */
export interface Part {
  readonly script: 'demo' | 'test';
  readonly args: readonly string[];
}

/** What runs there unless told. */
export const PARTS: readonly Part[] = [
  { script: 'demo', args: [] },
  { script: 'test', args: ['test/kernel/', 'test/e2e/guarded-view.test.ts'] },
];

/**
 * Once more where a test fails: V8 crashes now and then on the emulated processor, and the agent's own limits are not scaled.
 * A file can take half an hour: each test is told of when it ends.
 */
const RUN = ['--retry=1', '--reporter=verbose'];

/**
 * Compiles the agent once for all of its starts: Node takes the types out of it by WebAssembly, and V8 crashed in every second
 * start of an agent, before it had done anything; an agent whose code is cached starts in half the time, and has not crashed.
 */
const WARM_UP = [
  'export NODE_COMPILE_CACHE=/var/tmp/compile-cache',
  'for attempt in 1 2 3 4 5; do',
  '  node_modules/node/bin/node --input-type=module --eval \'await import("./src/cli/run-agent.ts")\' && break',
  'done',
];

const Package = z.looseObject({ scripts: z.record(z.string(), z.string()) });

/** The parts that words of the command line mean: `demo`, or filters for vitest. */
export function partsOf(words: readonly string[]): readonly Part[] {
  if (words.length === 0) return PARTS;
  const filters = words.filter((word) => word !== 'demo');
  const demo: Part = { script: 'demo', args: [] };
  return [
    ...(filters.length < words.length ? [demo] : []),
    ...(filters.length > 0 ? [{ script: 'test', args: filters } as const] : []),
  ];
}

/** Which files of the parts the project does not have. */
export function missingFiles(parts: readonly Part[], project: string): string[] {
  return parts.flatMap(({ args }) => args).filter((arg) => arg.startsWith('test/') && !existsSync(join(project, arg)));
}

/** The parts without these files; without a part of which nothing is left. */
export function withoutFiles(parts: readonly Part[], files: readonly string[]): readonly Part[] {
  return parts
    .map(({ script, args }) => ({ script, args: args.filter((arg) => !files.includes(arg)), before: args.length }))
    .filter(({ args, before }) => args.length > 0 || before === 0)
    .map(({ script, args }) => ({ script, args }));
}

/** What a part is called in what the machine writes. */
export function nameOf({ script, args }: Part): string {
  return [script, ...args].join(' ');
}

/** A shell script that runs the parts as npm would, which the machine does not have. */
export function shellScript(parts: readonly Part[], project: string, environment: Record<string, string>): string {
  const { scripts } = Package.parse(JSON.parse(readFileSync(join(project, 'package.json'), 'utf8')));
  const exports = Object.entries(environment).map(([name, value]) => `export ${name}=${quote(value)}`);
  const argsOf = ({ script, args }: Part) => (script === 'test' ? [...RUN, ...args] : args).map(quote);
  const runs = parts.flatMap((part) => [
    `echo; echo ${quote(`== ${nameOf(part)}`)}`,
    `sh -c ${quote([scripts[part.script], ...argsOf(part)].join(' '))}`,
    'echo "== ended with $?"',
  ]);
  return [...exports, ...WARM_UP, ...runs, ''].join('\n');
}

function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
