import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** A Markdown page of the project. */
export interface Page {
  /** From the root of the project. */
  readonly path: string;
  readonly text: string;
}

/** All pages that people read: right in the root, in docs/, deploy/ and examples/. */
export function readPages(): Page[] {
  const below = (directory: string) =>
    readdirSync(join(ROOT, directory), { recursive: true, encoding: 'utf8' }).map((name) => join(directory, name));
  const paths = [...readdirSync(ROOT), ...['docs', 'deploy', 'examples'].flatMap(below)];
  return paths
    .filter((path) => path.endsWith('.md'))
    .map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }));
}
