/** The lines of a page's code: fenced and indented blocks, and each inline span, without the backticks. */
export function codeOf(page: string): string[] {
  const fenced = [...page.matchAll(/^ *```.*\n([\s\S]*?)^ *```/gm)].map(([, text = '']) => text);
  const rest = page.replaceAll(/^ *```[\s\S]*?^ *```/gm, '');
  const indented = [...rest.matchAll(/^ {4,}(\S.*)$/gm)].map(([, line = '']) => line);
  const inline = [...rest.matchAll(/`([^`]+)`/g)].map(([, span = '']) => span.replaceAll(/\s+/g, ' '));
  return [...fenced.flatMap((text) => text.split('\n')), ...indented, ...inline].map((line) => line.trim());
}
