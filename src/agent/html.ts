import { printable } from '../printable.ts';

/** Markup that is safe to show: made by `html`, or a constant of ours. */
export class Html {
  readonly markup: string;

  constructor(markup: string) {
    this.markup = markup;
  }
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/**
 * Markup with values put in: a text is escaped, for elements and for attributes in quotes, and shows what is not printable;
 * what `html` has made stays as it is. Stops a job author, who chooses the names of jobs and tasks and causes error messages,
 * from putting markup on an operator's page.
 */
export function html(markup: TemplateStringsArray, ...values: readonly (string | Html | readonly Html[])[]): Html {
  return new Html(String.raw({ raw: markup }, ...values.map(markupOf)));
}

function markupOf(value: string | Html | readonly Html[]): string {
  if (value instanceof Html) return value.markup;
  if (typeof value !== 'string') return value.map(({ markup }) => markup).join('');
  return printable(value).replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '');
}
