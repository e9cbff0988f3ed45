/** What stands in the place of what was removed. */
const REMOVED = '[removed]';
/** Shorter ones are in too much that is no secret. */
const LEAST_LENGTH = 6;

/** What the name of something secret has in it. Not the last name of a path, of which an error tells: `/etc/nomad/token: expected …`. */
const SECRET_NAME = String.raw`(?!(?<=/[\w.-]{0,64})[\w.-]{1,64}: )(?:token|secret|passw(?:or)?d|passphrase|credential|api_?key|access_?key|private_?key|authorization)[\w.-]{0,64}`;
/** A text in quotes, which may themselves be quoted, as in JSON within JSON; one that does not end; a bare word, of a header two. */
const VALUE = String.raw`(?<quote>\\*["'])[^\n]*?(?<!\\)\k<quote>|\\*["'][^\n]*|(?:(?:Bearer|Basic) +)?[^\s,;&)}\]"'\\]+`;

const NAMED = new RegExp(String.raw`(?<name>${SECRET_NAME})(?<between>\\*["']?\s*[:=]\s*)(?:${VALUE})`, 'gi');
/** Names of files with secrets, which are none themselves. */
const PLACE = /(?:[_.](?:file|path|dir)|File|Path|Dir)$/;
/**
 * What a task is given, and the meta of its job, as JSON has them: anything in there can be secret, and end as a text can. So to
 * the end of the line, or where the text is indented to that of the object. It is looked for at the first of
 * backslashes alone: at each of them it would take time by the square of how many there are.
 */
const GIVEN =
  /(?<key>(?<!\\)\\*"(?:env|environment|meta)\\*"\s*:\s*)(?:\{[^\S\n]*\n[\s\S]*?(?:\n\s*\}|$)|\{[^\n]*|\[(?!\s*\{)[^\n]*)/gi;
/** What is secret by its form: keys in PEM (RFC 7468), JSON web tokens (RFC 7519), tokens of Vault, keys of AWS. */
const FORMS = [
  /-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|$)/g,
  /\beyJ[\w-]{1,4096}\.[\w-]{1,4096}\.[\w-]+/g,
  /\bhv[sbr]\.[\w-]{8,}/g,
  /\bAKIA[0-9A-Z]{16}\b/g,
];
/** RFC 3986, 3.2.1. */
const USER_INFO = /(?<scheme>\b[a-z][a-z0-9+.-]{0,32}:\/\/)[^\s/@"']+@/gi;

/**
 * Takes out of a text what is known to be secret, and what looks like it: values of what is named so, what tasks are given, and
 * what has the form of a key or a token. Takes rather too much than too little; a secret that neither is known nor has such a name or form stays.
 * @param secrets what is known
 */
export function redact(text: string, secrets: readonly string[]): string {
  const known = secrets.filter(({ length }) => length >= LEAST_LENGTH).flatMap(writings);
  const longestFirst = [...new Set(known)].sort((a, b) => b.length - a.length);
  let redacted = text;
  for (const secret of longestFirst) redacted = redacted.replaceAll(secret, REMOVED);
  for (const form of FORMS) redacted = redacted.replace(form, REMOVED);
  return redacted
    .replace(GIVEN, `$<key>${REMOVED}`)
    .replace(USER_INFO, `$<scheme>${REMOVED}@`)
    .replace(NAMED, (all: string, ...rest: unknown[]) => {
      const { name, between, quote = '' } = rest.at(-1) as { name: string; between: string; quote?: string };
      return PLACE.test(name) ? all : `${name}${between}${quote}${REMOVED}${quote}`;
    });
}

/** The ways in which a text can stand in another one: as it is, in JSON, in a URL, in base64. */
function writings(secret: string): string[] {
  const inJson = JSON.stringify(secret).slice(1, -1);
  const bytes = new TextEncoder().encode(secret);
  const inBase64 = btoa(String.fromCharCode(...bytes)).replace(/=+$/, '');
  return [secret, inJson, JSON.stringify(inJson).slice(1, -1), encodeURIComponent(secret), inBase64];
}
