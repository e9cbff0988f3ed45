/**
 * As many keys and values as are read of a create, or of what a user's Podman says: some 6,000 variables of an environment; some hundred
 * containers have a third of that. With more the one thread of the agent would stand still for longer than 50 ms.
 */
export const MOST_PIECES = 20_000;

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
export function endOfString(json: string, from: number): number {
  for (let quote = json.indexOf('"', from + 1); quote !== -1; quote = json.indexOf('"', quote + 1)) {
    let first = quote;
    while (first - 1 > from && json[first - 1] === '\\') first -= 1;
    if ((quote - first) % 2 === 0) return quote + 1;
  }
  return json.length + 1;
}
