/**
 * What Go's encoding/json (v1, decode.go, scanner.go, fold.go; json.NewDecoder(…).Decode as Podman calls it) makes of bytes, for
 * structs of texts, lists, maps and structs, by its rules:
 *
 * - White space is space, tab, CR, LF. Only the first value is read, whatever comes behind it.
 * - In a text every byte from 0x20 on may stand as it is. What is no UTF-8 is U+FFFD, byte for byte; so is an escaped half of a
 *   surrogate pair that stands alone.
 * - A key of a struct is that of the field with this very name, or else of the one whose name is the same when case is folded as Unicode
 *   folds single characters (U+017F is s, U+212A is k). Others are passed over.
 * - A field twice is decoded twice into the same place: structs and maps are merged, also those in lists, at the same index; a text and
 *   the length of a list are those of the last.
 * - null leaves a text or a struct as it was, and empties a list, a map or a pointer.
 * - A value of another kind than the field's is an error, of the whole body.
 * - More than 10,000 levels of nesting are an error.
 */
export type Shape =
  | { readonly kind: 'text' }
  | { readonly kind: 'any' }
  | { readonly kind: 'list'; readonly of: Shape }
  | { readonly kind: 'map'; readonly of: Shape }
  | { readonly kind: 'struct'; readonly fields: Readonly<Record<string, Shape>>; readonly isPointer?: boolean };

export class GoError extends Error {}

const DEPTH = 10_000;
const REPLACEMENT = '\ufffd';

type Value = string | undefined | Value[] | Map<string, Value>;

/** Decodes into a new value of a shape; structs and maps are Maps, undefined is Go's zero value. @throws GoError */
export function decode(bytes: Buffer, shape: Shape): Value {
  if (depthOf(bytes) > DEPTH) throw new GoError('too deep');
  return new Decoder(bytes).value(shape, undefined);
}

/** fold.go: of the characters that are one letter in several cases, one. */
export function foldName(name: string): string {
  return name
    .replaceAll('\u017f', 's')
    .replaceAll('\u212a', 'k')
    .replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase());
}

class Decoder {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  value(shape: Shape, before: Value): Value {
    const first = this.#next();
    if (first === '{') return this.#object(shape, before);
    if (first === '[') return this.#array(shape, before);
    if (first === '"') {
      this.#at += 1;
      const text = this.#text();
      if (shape.kind === 'any') return undefined;
      if (shape.kind !== 'text') throw new GoError(`text into ${shape.kind}`);
      return text;
    }
    const isNull = this.#literal() === 'null';
    if (shape.kind === 'any') return undefined;
    if (!isNull) throw new GoError(`number or boolean into ${shape.kind}`);
    const isEmptied = shape.kind === 'list' || shape.kind === 'map' || (shape.kind === 'struct' && shape.isPointer);
    return isEmptied ? undefined : before;
  }

  #object(shape: Shape, before: Value): Value {
    if (shape.kind === 'text' || shape.kind === 'list') throw new GoError(`object into ${shape.kind}`);
    const into = new Map(before instanceof Map ? before : []);
    this.#at += 1;
    for (let more = this.#next() !== '}'; more; more = this.#isMore('}')) {
      if (this.#next() !== '"') throw new GoError('no key');
      this.#at += 1;
      const key = this.#text();
      if (this.#next() !== ':') throw new GoError('no colon');
      this.#at += 1;
      if (shape.kind === 'any') this.value(shape, undefined);
      else if (shape.kind === 'map') into.set(key, this.value(shape.of, undefined));
      else {
        const name = Object.hasOwn(shape.fields, key)
          ? key
          : Object.keys(shape.fields).find((field) => foldName(field) === foldName(key));
        const field = name === undefined ? undefined : shape.fields[name];
        const value = this.value(field ?? { kind: 'any' }, name === undefined ? undefined : into.get(name));
        if (name !== undefined) into.set(name, value);
      }
    }
    this.#at += 1;
    return into;
  }

  #array(shape: Shape, before: Value): Value {
    if (shape.kind !== 'list' && shape.kind !== 'any') throw new GoError(`array into ${shape.kind}`);
    const items: Value[] = [];
    this.#at += 1;
    for (let more = this.#next() !== ']'; more; more = this.#isMore(']')) {
      const former = Array.isArray(before) ? before[items.length] : undefined;
      items.push(shape.kind === 'list' ? this.value(shape.of, former) : this.value(shape, undefined));
    }
    this.#at += 1;
    return items;
  }

  #isMore(end: string): boolean {
    const next = this.#next();
    if (next === end) return false;
    if (next !== ',') throw new GoError('no comma');
    this.#at += 1;
    return true;
  }

  /** The next character that is no white space, which stays. */
  #next(): string {
    while (' \t\r\n'.includes(this.#character())) this.#at += 1;
    return this.#character();
  }

  #character(): string {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw new GoError('unexpected end');
    return String.fromCharCode(byte);
  }

  /** A number, true, false or null. */
  #literal(): string {
    const rest = this.#bytes.toString('latin1', this.#at, this.#at + 400);
    const [literal] = /^(?:null|true|false|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)/.exec(rest) ?? [];
    if (literal === undefined) throw new GoError('no value');
    this.#at += literal.length;
    return literal;
  }

  /** From behind the opening quote to behind the closing one. */
  #text(): string {
    let text = '';
    for (let character = this.#character(); character !== '"'; character = this.#character()) {
      if (character < ' ') throw new GoError('a control character');
      if (character === '\\') text += this.#escape();
      else text += this.#rune();
    }
    this.#at += 1;
    return text;
  }

  /** unquoteBytes, decode.go. */
  #escape(): string {
    this.#at += 1;
    const character = this.#character();
    this.#at += 1;
    const simple = { '"': '"', '\\': '\\', '/': '/', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }[character];
    if (simple !== undefined) return simple;
    if (character !== 'u') throw new GoError('a bad escape');
    const unit = this.#hex();
    if (unit === undefined) throw new GoError('a bad escape');
    if (unit < 0xd800 || unit > 0xdfff) return String.fromCharCode(unit);
    const from = this.#at;
    if (unit < 0xdc00 && this.#bytes.toString('latin1', from, from + 2) === '\\u') {
      this.#at += 2;
      const low = this.#hex();
      if (low !== undefined && low >= 0xdc00 && low <= 0xdfff) return String.fromCharCode(unit, low);
    }
    this.#at = from;
    return REPLACEMENT;
  }

  #hex(): number | undefined {
    const digits = this.#bytes.toString('latin1', this.#at, this.#at + 4);
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) return undefined;
    this.#at += 4;
    return Number.parseInt(digits, 16);
  }

  /** utf8.DecodeRune: one byte of what is no UTF-8 is one U+FFFD. */
  #rune(): string {
    for (const length of [1, 2, 3, 4]) {
      const bytes = this.#bytes.subarray(this.#at, this.#at + length);
      const text = wholeUtf8(bytes);
      if (text === undefined || bytes.length < length) continue;
      this.#at += length;
      return text;
    }
    this.#at += 1;
    return REPLACEMENT;
  }
}

/** How deep what is in the bytes is nested, without the call stack's bound. */
function depthOf(bytes: Buffer): number {
  const brackets = bytes.toString('latin1').replaceAll(/"(?:[^"\\]|\\.)*"?/gs, '');
  let depth = 0;
  let deepest = 0;
  for (const bracket of brackets) {
    if (bracket === '{' || bracket === '[') depth += 1;
    else if (bracket === '}' || bracket === ']') depth -= 1;
    deepest = Math.max(deepest, depth);
  }
  return deepest;
}

function wholeUtf8(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
