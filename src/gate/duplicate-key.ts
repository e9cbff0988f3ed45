/**
 * The first key that an object in the JSON text has twice, at any depth. JSON.parse keeps the last one silently, and
 * Go merges them: what we check must be what Podman sees.
 * @param json text that JSON.parse takes
 */
export function duplicateKey(json: string): string | undefined {
  const open: (Set<string> | undefined)[] = [];
  for (let at = 0; at < json.length; at += 1) {
    const character = json[at];
    if (character === '{') open.push(new Set());
    else if (character === '[') open.push(undefined);
    else if (character === '}' || character === ']') open.pop();
    else if (character === '"') {
      const end = endOfString(json, at);
      const keys = open.at(-1);
      if (keys && isKey(json, end)) {
        const key: unknown = JSON.parse(json.slice(at, end));
        if (typeof key === 'string') {
          if (keys.has(key)) return key;
          keys.add(key);
        }
      }
      at = end - 1;
    }
  }
  return undefined;
}

/**
 * Whether a text that is to be read as JSON holds more than so many keys and values, brackets among them: what costs time, unlike
 * the length of texts. Any text at all may be given.
 */
export function holdsMoreThan(most: number, json: string): boolean {
  let found = 0;
  for (let at = 0; at < json.length && found <= most; at += 1) {
    const character = json[at];
    if (character === '"') at = endOfString(json, at) - 1;
    if (character === '"' || character === ',' || character === '[' || character === '{') found += 1;
  }
  return found > most;
}

/** The index behind the closing quote of the string that begins at `from`; behind the text where there is none. */
function endOfString(json: string, from: number): number {
  for (let quote = json.indexOf('"', from + 1); quote !== -1; quote = json.indexOf('"', quote + 1)) {
    let first = quote;
    while (first - 1 > from && json[first - 1] === '\\') first -= 1;
    if ((quote - first) % 2 === 0) return quote + 1;
  }
  return json.length + 1;
}

/** In valid JSON a string is a key exactly when a colon follows it. */
function isKey(json: string, end: number): boolean {
  let at = end;
  while (json[at] === ' ' || json[at] === '\t' || json[at] === '\n' || json[at] === '\r') at += 1;
  return json[at] === ':';
}
