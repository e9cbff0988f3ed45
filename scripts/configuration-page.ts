import * as z from 'zod';
import { ENVIRONMENT } from '../src/config/environment.ts';
import { FileSchema, PolicyEntrySchema } from '../src/config/schema.ts';

/** Which tables docs/configuration.md has, by the name in their marker. */
const TABLES: Readonly<Record<string, () => string>> = {
  keys: () => tableOf(FileSchema),
  policy: () => tableOf(PolicyEntrySchema),
};
/** Between these two lines stands a table: `<!-- generated: keys -->` and `<!-- end -->`. */
const MARKED = /^(<!-- generated: (\w+)[^>]*-->\n)[\s\S]*?^(<!-- end -->)$/gm;

/**
 * The page with the tables of the schema in place of those that it has.
 * @throws Error where a marker names no table, a table has no marker, or a key has no description
 */
export function withTables(page: string): string {
  const made = new Set<string>();
  const text = page.replaceAll(MARKED, (_, begin: string, name: string, end: string) => {
    const table = TABLES[name];
    if (!table)
      throw new Error(`docs/configuration.md: expected one of ${Object.keys(TABLES).join(', ')}, got ${name}`);
    made.add(name);
    return `${begin}\n${table()}\n${end}`;
  });
  const lacking = Object.keys(TABLES).filter((name) => !made.has(name));
  if (lacking.length > 0)
    throw new Error(`docs/configuration.md: expected markers for ${lacking.join(', ')}, got none`);
  return text;
}

function tableOf(schema: z.ZodObject): string {
  const rows = keysOf(schema, '').map(([key, inner]) => `| ${cellsOf(key, inner).join(' | ')} |\n`);
  return `| Key | Default | Value | Meaning |\n| --- | --- | --- | --- |\n${rows.join('')}`;
}

function cellsOf(key: string, schema: z.ZodType): string[] {
  const variable = ENVIRONMENT[key];
  const overridden = variable === undefined ? '' : ` \`${variable}\` overrides it.`;
  return [`\`${key}\``, defaultOf(schema), expectedBy(schema), describe(key, schema) + overridden].map((cell) =>
    cell.replaceAll('|', '\\|'),
  );
}

function describe(key: string, { description }: z.ZodType): string {
  if (description === undefined) throw new Error(`src/config/schema.ts: expected a description of ${key}, got none`);
  return description;
}

function defaultOf(schema: z.ZodType): string {
  return schema instanceof z.ZodDefault ? `\`${String(schema.def.defaultValue)}\`` : '';
}

/** What a value has to be: what the schema says of one that no key takes. */
function expectedBy(schema: z.ZodType): string {
  return schema.safeParse(0n).error?.issues[0]?.message ?? '';
}

/** The keys in order, as "gate.timeout"; not `access`, which is only there to be refused with advice. */
function keysOf(schema: z.ZodObject, prefix: string): [string, z.ZodType][] {
  return Object.entries(schema.shape).flatMap(([key, inner]): [string, z.ZodType][] => {
    if (inner instanceof z.ZodObject) return keysOf(inner, `${prefix}${key}.`);
    return prefix === '' && key === 'access' ? [] : [[prefix + key, inner as z.ZodType]];
  });
}
