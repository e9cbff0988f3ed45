import { isMap, isNode, isScalar, LineCounter, type Node, parseDocument } from 'yaml';
import { messageOf } from '../errors.ts';

/** A parsed YAML text that still knows where its keys stand. */
export interface YamlSource {
  /** Plain objects, arrays and scalars; undefined for an empty text. */
  readonly value: unknown;
  /** What is wrong with the text as YAML; `value` is undefined then. */
  readonly problems: readonly { readonly line: number; readonly message: string }[];
  /** The line (from 1) of the key at a path, or of the deepest key above it that is there. */
  lineOf(path: readonly PropertyKey[]): number | undefined;
}

/** Reads YAML 1.2. Unknown tags and duplicate keys count as problems. Messages never quote the text: it may hold a token. */
export function parseYaml(text: string): YamlSource {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const lineAt = (offset: number) => lines.linePos(offset).line;
  const problems = [...document.errors, ...document.warnings].map((error) => ({
    line: lineAt(error.pos[0]),
    message: error.message,
  }));
  const lineOf = (path: readonly PropertyKey[]) => {
    let node: unknown = document.contents;
    let line: number | undefined;
    for (const segment of path) {
      const pair = isMap(node) ? node.items.find(({ key }) => keyText(key) === String(segment)) : undefined;
      if (pair === undefined) break;
      const start = isNode(pair.key) ? (pair.key as Node).range?.[0] : undefined;
      line = start === undefined ? line : lineAt(start);
      node = pair.value;
    }
    return line;
  };
  if (problems.length > 0) return { value: undefined, problems, lineOf };
  try {
    return { value: document.toJS() ?? undefined, problems, lineOf };
  } catch (error) {
    return { value: undefined, problems: [{ line: 1, message: messageOf(error) }], lineOf }; // too many aliases
  }
}

function keyText(key: unknown): string | undefined {
  return isScalar(key) ? String(key.value) : undefined;
}
