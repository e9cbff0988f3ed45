import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ParseError } from '../../../src/errors.ts';
import { folded, parseCreateBody } from '../../../src/gate/create-body.ts';
import { decode, foldName, GoError, type Shape } from './go-json.ts';

const TEXT: Shape = { kind: 'text' };
const ANY: Shape = { kind: 'any' };
const list = (of: Shape): Shape => ({ kind: 'list', of });
const map = (of: Shape): Shape => ({ kind: 'map', of });
const struct = (fields: Record<string, Shape>): Shape => ({ kind: 'struct', fields });
const pointer = (fields: Record<string, Shape>): Shape => ({ kind: 'struct', fields, isPointer: true });
const NAMESPACE = struct({ nsmode: TEXT, value: TEXT });

/** SpecGenerator of Podman, as far as the gate goes by it: all that reaches out of the container. */
const SPEC = struct({
  name: TEXT,
  image: TEXT,
  pod: TEXT,
  rootfs: TEXT,
  init_path: TEXT,
  conmon_pid_file: TEXT,
  seccomp_profile_path: TEXT,
  base_hosts_file: TEXT,
  healthLogDestination: TEXT,
  timezone: TEXT,
  oci_runtime: TEXT,
  volumes_from: list(TEXT),
  devices_from: list(TEXT),
  dependencyContainers: list(TEXT),
  mounts: list(struct({ type: TEXT, source: TEXT, options: list(TEXT) })),
  overlay_volumes: list(struct({ source: TEXT, options: list(TEXT) })),
  volumes: list(struct({ Options: list(TEXT) })),
  devices: list(struct({ path: TEXT })),
  host_device_list: list(struct({ path: TEXT })),
  log_configuration: pointer({ path: TEXT, options: map(TEXT) }),
  idmappings: pointer({ AutoUserNsOpts: struct({ PasswdFile: TEXT, GroupFile: TEXT }) }),
  annotations: map(TEXT),
  sysctl: map(TEXT),
  netns: NAMESPACE,
  ipcns: NAMESPACE,
  userns: NAMESPACE,
  env: map(ANY),
});

/** A value as the model has it, from what the gate read: only what the shape has, without what is Go's zero value. */
function seen(value: unknown, shape: Shape): unknown {
  if (value === undefined || value === null || shape.kind === 'any') return undefined;
  if (shape.kind === 'text') return value === '' ? undefined : value;
  if (shape.kind === 'list')
    return Array.isArray(value) && value.length > 0 ? value.map((one) => seen(one, shape.of)) : undefined;
  const entries = value instanceof Map ? [...value] : Object.entries(value);
  const kept = entries.flatMap(([key, inner]) => {
    // Zod leaves it out of maps; nothing goes by that name.
    if (key === '__proto__') return [];
    const of = shape.kind === 'map' ? shape.of : Object.hasOwn(shape.fields, key) ? shape.fields[key] : undefined;
    const what = of && seen(inner, of);
    return what === undefined ? [] : [[key, what] as const];
  });
  // In no order.
  return kept.length === 0 ? undefined : Object.fromEntries(kept.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** What the gate read of bytes; `refused` where it takes them for no create. */
function readByGate(bytes: Buffer): unknown {
  try {
    return seen(parseCreateBody(bytes), SPEC);
  } catch (error) {
    if (error instanceof ParseError) return 'refused';
    throw error;
  }
}

function readByGo(bytes: Buffer): unknown {
  try {
    return seen(decode(bytes, SPEC), SPEC);
  } catch (error) {
    if (error instanceof GoError) return 'refused';
    throw error;
  }
}

const FIELDS = SPEC.kind === 'struct' ? Object.keys(SPEC.fields) : [];
const INNER = ['type', 'source', 'options', 'Options', 'path', 'nsmode', 'value', 'AutoUserNsOpts', 'PasswdFile'];

/** A name in letters that are the same letter, or look it: mostly as it is. */
const spelt = (names: readonly string[]) =>
  fc.tuple(fc.constantFrom(...names), fc.nat({ max: 30 }), fc.nat({ max: 5 })).map(([name, at, how]) => {
    const swaps: Readonly<Record<string, string>> = { s: '\u017f', k: '\u212a', i: '\u0131' };
    const letter = name[at];
    if (letter === undefined) return name;
    const swapped =
      [letter.toUpperCase(), letter.toLowerCase(), swaps[letter.toLowerCase()] ?? letter, 'x'][how] ?? letter;
    return name.slice(0, at) + swapped + name.slice(at + 1);
  });

const key = (names: readonly string[]) =>
  fc.oneof(
    { weight: 12, arbitrary: fc.constantFrom(...names) },
    { weight: 4, arbitrary: spelt(names) },
    { weight: 1, arbitrary: fc.constantFrom('__proto__', 'constructor', '', 'unknown', '\ud800', '\ufffd', 'name\0') },
  );

/** A JSON text of a string, by one way or another of writing each of its code units. */
const quoted = (text: string) =>
  fc.infiniteStream(fc.nat({ max: 11 })).map((ways) => {
    const units = text.split('').map((unit) => {
      const way = ways.next().value;
      const code = unit.charCodeAt(0);
      const escaped = `\\u${code.toString(16).padStart(4, '0')}`;
      if (way === 0) return escaped;
      if (way === 1) return escaped.replace(/[a-f]/g, (digit) => digit.toUpperCase());
      if (way === 2 && unit === '/') return '\\/';
      return code < 0x20 || unit === '"' || unit === '\\' || (code >= 0xd800 && code <= 0xdfff) ? escaped : unit;
    });
    return `"${units.join('')}"`;
  });

const someText = fc
  .oneof(
    fc.constantFrom(
      '/srv',
      'bind',
      'container',
      'path',
      '/var/lib/nomad',
      'x\u0000y',
      '\u2028',
      '\ud83d\ude00',
      'é',
      '',
    ),
    fc.string({ unit: fc.constantFrom('/', 'a', '.', '"', '\\', '\ud83d', '\ude00', '\ufffd', '\t'), maxLength: 6 }),
  )
  .chain(quoted);

const literal = fc.constantFrom(
  'null',
  'null',
  '0',
  '-1',
  '1e400',
  '1.5E-3',
  '01',
  '-',
  'true',
  'false',
  'nul',
  'NaN',
  '""',
);
const space = fc.oneof(
  { weight: 20, arbitrary: fc.constantFrom('', ' ', '\n', '\t\r') },
  { weight: 1, arbitrary: fc.constantFrom('\u00a0', '\ufeff', '/**/') },
);

const objectOf = (names: readonly string[], value: fc.Arbitrary<string>, maxLength: number) =>
  fc
    .array(fc.tuple(key(names).chain(quoted), value, space), { maxLength })
    .map(
      (entries) =>
        `{${entries.map(([name, inner, blank]) => `${blank.trim() === '' ? blank : ''}${name}:${inner}`).join(',')}}`,
    );
const arrayOf = (value: fc.Arbitrary<string>) =>
  fc.array(value, { maxLength: 3 }).map((items) => `[${items.join(',')}]`);

/** A value as its field mostly has it. */
function valueFor(shape: Shape | undefined): fc.Arbitrary<string> {
  const usual = (() => {
    switch (shape?.kind) {
      case 'list':
        return arrayOf(fc.oneof({ weight: 9, arbitrary: valueFor(shape.of) }, { weight: 1, arbitrary: literal }));
      case 'map':
        return objectOf(['a', 'A', 'net.core.somaxconn', 'path'], valueFor(shape.of), 3);
      case 'struct':
        return structOf(shape.fields);
      default:
        return someText;
    }
  })();
  const nested = fc.nat({ max: 3 }).map((deep) => '['.repeat(deep) + ']'.repeat(deep) || '{}');
  return fc.oneof(
    { weight: 30, arbitrary: usual },
    { weight: 3, arbitrary: fc.constant('null') },
    { weight: 1, arbitrary: literal },
    { weight: 1, arbitrary: nested },
  );
}

/** An object whose keys are mostly the fields of a struct, once each, with what they have. */
function structOf(fields: Readonly<Record<string, Shape>>): fc.Arbitrary<string> {
  const names = Object.keys(fields);
  const entry = fc
    .constantFrom(...names)
    .chain((name) =>
      fc.tuple(
        fc.oneof({ weight: 20, arbitrary: fc.constant(name) }, { weight: 1, arbitrary: key(names) }).chain(quoted),
        valueFor(fields[name]),
        fc.constant(name),
      ),
    );
  const once = fc.uniqueArray(entry, { maxLength: 4, selector: ([, , name]) => name });
  const often = fc.array(entry, { maxLength: 3 });
  return fc
    .tuple(once, fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: often }))
    .map(([first, more]) => `{${[...first, ...more].map(([name, value]) => `${name}:${value}`).join(',')}}`);
}

const spec = SPEC.kind === 'struct' ? SPEC.fields : {};
const likely = structOf(spec).map((json) => (json === '{}' ? '{"name":"t"}' : json.replace('{', '{"name":"t",')));
const values = fc.oneof(someText, literal, arrayOf(someText), objectOf(INNER, someText, 3));
const wild = fc
  .tuple(fc.boolean(), objectOf([...FIELDS.slice(1), ...INNER], values, 6))
  .map(([isNamed, json]) => (isNamed && json !== '{}' ? json.replace('{', '{"name":"t",') : json));

const maybe = <T>(arbitrary: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 5, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });

/** Bytes of which some are changed, or that have something before and behind. */
const bytesOf = (json: fc.Arbitrary<string>) =>
  fc
    .tuple(json, space, space, maybe(fc.tuple(fc.nat(), fc.nat({ max: 255 }))))
    .map(([text, before, behind, change]) => {
      const bytes = Buffer.from(before + text + behind);
      if (change && bytes.length > 0) bytes[change[0] % bytes.length] = change[1];
      return bytes;
    });

describe('what the gate reads of a create', () => {
  test.each([
    ['much as the driver writes it', likely, 250],
    ['of any kind', wild, 1],
  ])('%s Go reads as the same', (_, json, leastTaken) => {
    let taken = 0;
    fc.assert(
      fc.property(bytesOf(json), (bytes) => {
        const gate = readByGate(bytes);
        const go = readByGo(bytes);
        // What Go refuses, Podman refuses.
        if (gate === 'refused' || go === 'refused') return;
        taken += 1;
        expect(gate).toEqual(go);
      }),
      { numRuns: 1000 },
    );
    // It would be true of a gate that takes nothing.
    console.log('TAKEN', taken);
    expect(taken).toBeGreaterThanOrEqual(leastTaken);
  });

  test.each([
    ['null in a list of texts', '{"name":"t","volumes_from":[null]}'],
    ['a key twice', '{"name":"t","rootfs":"/a","rootfs":"/b"}'],
    ['a key twice, once escaped', '{"name":"t","rootfs":"/a","\\u0072ootfs":"/b"}'],
    ['another case', '{"name":"t","ROOTFS":"/a"}'],
    ['a long s', '{"name":"t","root\u017fs":"/b","rootf\u017f":"/a"}'],
    ['a Kelvin sign', '{"name":"t","mounts":[],"host_device_list":[],"\u212a":1,"volume\u017f_from":["x"]}'],
    ['no UTF-8', Buffer.from('{"name":"t\xff"}', 'latin1')],
    ['half a surrogate pair', '{"name":"t","rootfs":"/\\ud800"}'],
    ['a second value', '{"name":"t"}{"rootfs":"/a"}'],
  ])('Go takes %s, and the gate refuses it', (_, json) => {
    const bytes = Buffer.from(json);
    expect(readByGo(bytes)).not.toBe('refused');
    expect(readByGate(bytes)).toBe('refused');
  });

  test.each([
    ['more than 10,000 levels', `{"name":"t","unknown":${'['.repeat(10_001)}${']'.repeat(10_001)}}`],
    ['a number where Podman has a text, in a field that the gate does not read', '{"name":"t","env":1}'],
  ])('the gate takes %s, which Go refuses, and Podman with it', (_, json) => {
    expect(readByGo(Buffer.from(json))).toBe('refused');
    expect(readByGate(Buffer.from(json))).not.toBe('refused');
  });

  test('folds all that Go folds', () => {
    fc.assert(
      fc.property(spelt([...FIELDS, ...INNER]), fc.constantFrom(...FIELDS, ...INNER), (name, field) => {
        if (foldName(name) === foldName(field)) expect(folded(name)).toBe(folded(field));
      }),
      { numRuns: 1000 },
    );
    // Every single character that Unicode folds to an ASCII letter, whichever way.
    for (let code = 0; code <= 0xffff; code += 1) {
      const character = String.fromCharCode(code);
      const matches = [...'abcdefghijklmnopqrstuvwxyz'].filter((letter) =>
        new RegExp(`^${letter}$`, 'iu').test(character),
      );
      for (const letter of matches) {
        expect(folded(character)).toBe(letter);
        expect(foldName(character)).toBe(letter);
      }
    }
  });
});
