import { readFileSync, writeFileSync } from 'node:fs';
import openapiTypescript, { astToString } from 'openapi-typescript';

/** Generates the types of Nomad's API; with `--check`, only says whether the committed ones are those. */

const SPEC = new URL('../openapi/nomad.yaml', import.meta.url);
const TYPES = new URL('../openapi/src/schema.ts', import.meta.url);
const HEADER = '// Generated from openapi/nomad.yaml by `npm run generate`. Edit that file instead.\n\n';

const generated = HEADER + astToString(await openapiTypescript(SPEC));
const [option] = process.argv.slice(2);
if (option === undefined) {
  writeFileSync(TYPES, generated);
} else if (option !== '--check') {
  console.error(`generate: expected --check or nothing, got ${option}`);
  process.exitCode = 2;
} else if (committed() !== generated) {
  console.error('openapi/src/schema.ts is not what openapi/nomad.yaml gives: run `npm run generate` and commit it');
  process.exitCode = 1;
}

function committed(): string | undefined {
  try {
    return readFileSync(TYPES, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
