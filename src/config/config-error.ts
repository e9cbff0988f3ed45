import type * as z from 'zod';
import { RootlessError } from '../errors.ts';
import { SECRETS } from './config.ts';
import { nearest } from './nearest.ts';
import { CONFIG_KEYS, CONFIG_SECTIONS } from './schema.ts';

/** A configuration that cannot be used: the message has one line for each thing to put right. */
export class ConfigError extends RootlessError {
  constructor(problems: readonly string[]) {
    super(problems.join('\n'), { code: 'config_invalid', retryable: false });
  }
}

/**
 * The problems that zod found, each as `where: expected …, got …`.
 * @param tree what was checked
 * @param where says where a path comes from, such as `config.yaml:12: gate.timeout`
 */
export function describeIssues(
  issues: readonly z.core.$ZodIssue[],
  tree: unknown,
  where: (path: readonly PropertyKey[]) => string,
): string[] {
  return issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map(
        (key) => `${where([...issue.path, key])}: expected a known key${suggestion(issue.path, key)}`,
      );
    }
    if (issue.code === 'invalid_key') {
      const expected = issue.issues.map((inner) => inner.message).join(', ');
      return [`${where(issue.path)}: expected ${expected}, got ${JSON.stringify(issue.path.at(-1))}`];
    }
    return [`${where(issue.path)}: expected ${issue.message}, got ${show(tree, issue.path)}`];
  });
}

function suggestion(path: readonly PropertyKey[], key: string): string {
  const known = [
    ...CONFIG_KEYS,
    ...CONFIG_SECTIONS,
    ...(path[0] === 'users' ? [`users.${String(path[1])}.socket`] : []),
  ];
  const lastOf = (name: string) => name.slice(name.lastIndexOf('.') + 1);
  const inSection = known.filter((name) => name === [...path, lastOf(name)].join('.')).map(lastOf);
  const here = nearest(key, inSection);
  const elsewhere = known.find((name) => lastOf(name) === nearest(key, known.map(lastOf)));
  const found = here === undefined ? elsewhere : [...path, here].join('.');
  return found === undefined ? `; known here: ${inSection.join(', ')}` : `; did you mean ${found}?`;
}

function show(tree: unknown, path: readonly PropertyKey[]): string {
  const value = path.reduce((inner: unknown, key) => Reflect.get(Object(inner), key), tree);
  if (value === undefined) return 'nothing';
  if (SECRETS.has(path.join('.'))) return '(hidden)';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'a mapping';
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
}
