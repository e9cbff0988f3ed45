/** How one thing stands: `warning` where tasks run and something is not as it should be, `failed` where they do not. */
export type Verdict = 'ok' | 'warning' | 'failed';

/** What was found of one thing. */
export interface Finding {
  readonly verdict: Verdict;
  /** In words; where no command mends it, also what does. */
  readonly found: string;
  /** The command that mends it, for a shell of root's on this host. */
  readonly remedy?: string | undefined;
}

/** A check that was made, as `doctor --json` has it. */
export interface Check extends Finding {
  /** Stable. */
  readonly id: string;
  readonly title: string;
  /** The user of the configuration that it is about; none where it is about the host. */
  readonly user?: string | undefined;
}

/** One check: what it judges by is gathered elsewhere, so that whoever has the facts can ask. */
export interface CheckOf<Facts> {
  readonly id: string;
  readonly title: string;
  /** Undefined where there is nothing to judge: what it looks at is missing, and another check says so. */
  judge(facts: Facts): Finding | undefined;
}

/** Makes the checks of a list, in its order. */
export function makeChecks<Facts>(list: readonly CheckOf<Facts>[], facts: Facts, user?: string): Check[] {
  return list.flatMap(({ id, title, judge }) => {
    const finding = judge(facts);
    return finding ? [{ id, title, ...(user === undefined ? {} : { user }), ...finding }] : [];
  });
}

/** The worst verdict of all; `ok` of none. */
export function worstOf(checks: readonly Pick<Check, 'verdict'>[]): Verdict {
  const is = (verdict: Verdict) => checks.some((check) => check.verdict === verdict);
  if (is('failed')) return 'failed';
  return is('warning') ? 'warning' : 'ok';
}

/** All is well. */
export function ok(found: string): Finding {
  return { verdict: 'ok', found };
}

/** Something is not as it should be. */
export function warning(found: string, remedy?: string): Finding {
  return { verdict: 'warning', found, ...(remedy === undefined ? {} : { remedy }) };
}

/** Tasks do not run. */
export function failed(found: string, remedy?: string): Finding {
  return { verdict: 'failed', found, ...(remedy === undefined ? {} : { remedy }) };
}

/** What was asked for, or why there is no answer: a code of ours, and the reason in words. */
export type Answer<T> = { readonly value: T } | { readonly code: string; readonly problem: string };

/** A word of a shell's command, sh(1). Stops what others have named, such as Nomad its data dir, from being run when a remedy is. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** What is not well, a line each: the agent's warnings and those of check-config are what doctor has in a table. */
export function complaintsOf(checks: readonly Check[]): string[] {
  return checks.filter(({ verdict }) => verdict !== 'ok').map((check) => `${headOf(check)}${check.found}`);
}

/** How the line of a check begins. */
export function headOf({ user, title }: Pick<Check, 'user' | 'title'>): string {
  return `${user === undefined ? '' : `user ${user}: `}${title}: `;
}
