import type * as z from 'zod';
import { ParseError } from './errors.ts';
import { holdsMoreThan, MOST_PIECES } from './json-pieces.ts';

/**
 * Reads JSON that came from outside by a schema.
 * @param where what the value is, for the error: `allocation 38272c7f-…`
 * @throws ParseError that names the place within the value, what was expected there and what was there
 */
export function parse<T>(schema: z.ZodType<T>, value: unknown, where: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  if (!issue) throw result.error;
  const place = [where, ...issue.path.map(String)].join('.');
  throw new ParseError(place, expectedBy(issue), describe(valueAt(value, issue.path)), result.error);
}

/**
 * Reads JSON text that came from outside by a schema. What is no JSON is not quoted: it may hold secrets.
 * @throws ParseError as parse
 */
export function parseJson<T>(schema: z.ZodType<T>, text: string, where: string): T {
  if (holdsMoreThan(MOST_PIECES, text)) throw new ParseError(where, `at most ${MOST_PIECES} keys and values`, 'more');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ParseError(where, 'JSON', 'none');
  }
  return parse(schema, value, where);
}

function expectedBy(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_type') return issue.expected;
  if (issue.code === 'invalid_value') return issue.values.map((value) => JSON.stringify(value)).join(' or ');
  return issue.message;
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (inner, key) => (typeof inner === 'object' && inner !== null ? Reflect.get(inner, key) : undefined),
    value,
  );
}

function describe(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'an object' : JSON.stringify(value).slice(0, 80);
}
