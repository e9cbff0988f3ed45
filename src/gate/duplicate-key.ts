import { endOfString } from '../json-pieces.ts';

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

/** In valid JSON a string is a key exactly when a colon follows it. */
function isKey(json: string, end: number): boolean {
  let at = end;
  while (json[at] === ' ' || json[at] === '\t' || json[at] === '\n' || json[at] === '\r') at += 1;
  return json[at] === ':';
}
