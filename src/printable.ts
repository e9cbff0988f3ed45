/**
 * The text with control characters shown as \xNN, so that it stays on its line. Stops a job author, who chooses job
 * names and causes error messages, from steering the operator's terminal by escape sequences, and from writing lines and
 * reversed text of their own.
 */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it is about
  return text.replace(/[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/g, (character) => {
    const code = character.charCodeAt(0);
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16)}`;
  });
}
