/** A metric that an expression selects, with the labels that it matches by. */
export interface Selected {
  readonly metric: string;
  readonly matchers: readonly { readonly label: string; readonly value: string }[];
}

/** What an expression of PromQL names of metrics. */
export interface NamedByPromql {
  readonly selected: readonly Selected[];
  /** Those of `by`, `on` and the like. */
  readonly groupedBy: readonly string[];
}

const TOKEN =
  /\s+|(?<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|\[[^\]]*\]|(?<word>[a-zA-Z_:][\w:]*)|\d[\w.]*|(?<sign>=~|!~|!=|==|>=|<=|[{}(),=<>+\-*/%^])/gy;
const GROUPING = ['by', 'without', 'on', 'ignoring', 'group_left', 'group_right'];
const OPERATORS = ['and', 'or', 'unless', 'bool', 'offset'];

/**
 * Reads the names out of an expression: enough for rules and dashboards, whose syntax promtool checks.
 * @throws Error where a character begins nothing known
 */
export function namedByPromql(expression: string): NamedByPromql {
  const tokens = tokensOf(expression);
  const selected: { metric: string; matchers: { label: string; value: string }[] }[] = [];
  const groupedBy: string[] = [];
  let inside: 'matchers' | 'labels' | undefined;
  for (const [at, { word, text, sign }] of tokens.entries()) {
    const next = tokens[at + 1];
    if (sign === '{') inside = 'matchers';
    else if (sign === '}' || (sign === ')' && inside === 'labels')) inside = undefined;
    else if (text !== undefined)
      selected.at(-1)?.matchers.push({ label: tokens[at - 2]?.word ?? '', value: text.slice(1, -1) });
    else if (word === undefined || inside === 'matchers' || OPERATORS.includes(word)) continue;
    else if (inside === 'labels') groupedBy.push(word);
    else if (GROUPING.includes(word)) inside = 'labels';
    else if (next?.sign !== '(' && !GROUPING.includes(next?.word ?? '')) selected.push({ metric: word, matchers: [] });
  }
  return { selected, groupedBy };
}

interface Token {
  readonly word?: string | undefined;
  readonly text?: string | undefined;
  readonly sign?: string | undefined;
}

function tokensOf(expression: string): Token[] {
  const tokens = [...expression.matchAll(TOKEN)];
  const read = tokens.reduce((length, [token]) => length + token.length, 0);
  if (read !== expression.length) throw new Error(`no PromQL that is known here: ${expression.slice(read)}`);
  return tokens.map(({ groups = {} }) => groups).filter(({ word, text, sign }) => word ?? text ?? sign);
}
