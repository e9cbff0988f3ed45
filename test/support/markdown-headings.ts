/** A heading of a Markdown page, with the text that stands below it, down to the next heading of its depth or less. */
export interface Section {
  readonly title: string;
  /** 1 is the title of the page. */
  readonly depth: number;
  /** What a link to it ends with, after the `#`: as GitHub forms it. */
  readonly anchor: string;
  readonly text: string;
}

/** The sections of a page. Titles lose their backticks. */
export function sectionsOf(page: string): Section[] {
  const headings = [...page.matchAll(/^(#+) +(.+)$/gm)].map((match) => ({
    depth: match[1]?.length ?? 0,
    title: (match[2] ?? '').replaceAll('`', '').trim(),
    from: match.index,
    to: match.index + match[0].length,
  }));
  return headings.map(({ depth, title, to }, at) => {
    const next = headings.slice(at + 1).find((other) => other.depth <= depth);
    return { title, depth, anchor: anchorOf(title), text: page.slice(to, next?.from) };
  });
}

function anchorOf(title: string): string {
  return title
    .toLowerCase()
    .replace(/[^\p{L}\p{N}_\- ]/gu, '')
    .replaceAll(' ', '-');
}
