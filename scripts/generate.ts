import { readFileSync, writeFileSync } from 'node:fs';
import openapiTypescript, { astToString } from 'openapi-typescript';
import { withTables } from './configuration-page.ts';

/** Generates what is made of other files; with `--check`, only says whether what is committed is that. */

const ROOT = new URL('../', import.meta.url);
const SPEC = 'openapi/nomad.yaml';
const TYPES_HEADER = `// Generated from ${SPEC} by \`npm run generate\`. Edit that file instead.\n\n`;

interface Generated {
  readonly path: string;
  /** What it is made of, for people. */
  readonly source: string;
  /** @param committed what the file has now; empty where it is not there */
  readonly make: (committed: string) => string | Promise<string>;
}

const GENERATED: readonly Generated[] = [
  {
    path: 'openapi/src/schema.ts',
    source: SPEC,
    make: async () => TYPES_HEADER + astToString(await openapiTypescript(new URL(SPEC, ROOT))),
  },
  { path: 'docs/configuration.md', source: 'src/config/schema.ts', make: withTables },
];

const [option] = process.argv.slice(2);
if (option !== undefined && option !== '--check') {
  console.error(`generate: expected --check or nothing, got ${option}`);
  process.exitCode = 2;
} else {
  for (const { path, source, make } of GENERATED) {
    const committed = textOf(path);
    const made = await make(committed);
    if (committed === made) continue;
    if (option === undefined) {
      writeFileSync(new URL(path, ROOT), made);
    } else {
      console.error(`${path} is not what ${source} gives: run \`npm run generate\` and commit it`);
      process.exitCode = 1;
    }
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(new URL(path, ROOT), 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
    throw error;
  }
}
