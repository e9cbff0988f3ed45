import { type Acl, decode, encode, equals, onlyFor, type Permissions, withoutUser, withUser } from './acl.ts';

/**
 * What we noted on a directory when we first changed its ACL, so that it can be put back whatever happens to us:
 * `replaced`: the whole ACL is ours, `before` is what stood there; `added`: only the entries of these uids are ours.
 */
type Mark =
  | { readonly kind: 'replaced'; readonly before: Acl }
  | { readonly kind: 'added'; readonly uids: ReadonlySet<number> };

/** The ACL of a directory as it is, with our mark where it has one. */
export interface MarkedAcl {
  readonly acl: Acl;
  readonly mark: Mark | undefined;
}

/**
 * What a directory should carry: `only` these users and nobody else (an allocation of theirs), or what it had before
 * with an entry `added` for each of these users (0 is a deny entry, 1 lets one pass through).
 */
export type WantedAcl = { readonly only: ReadonlySet<number> } | { readonly added: ReadonlyMap<number, Permissions> };

/** The same permissions for several users. */
export function entriesFor(uids: Iterable<number>, permissions: Permissions): ReadonlyMap<number, Permissions> {
  return new Map([...uids].map((uid) => [uid, permissions]));
}

/** The ACL and mark that a directory should get; undefined where it has them already. */
export function changeOf(current: MarkedAcl, wanted: WantedAcl): MarkedAcl | undefined {
  const base = withoutOurs(current);
  const next = 'only' in wanted ? replaced(base, wanted.only) : added(base, wanted.added);
  return equals(next.acl, current.acl) && formatMark(next.mark) === formatMark(current.mark) ? undefined : next;
}

function withoutOurs({ acl, mark }: MarkedAcl): Acl {
  if (mark?.kind === 'replaced') return mark.before;
  return [...(mark?.uids ?? [])].reduce(withoutUser, acl);
}

function replaced(before: Acl, uids: ReadonlySet<number>): MarkedAcl {
  return { acl: onlyFor(uids), mark: { kind: 'replaced', before } };
}

function added(base: Acl, entries: ReadonlyMap<number, Permissions>): MarkedAcl {
  // An entry that the operator made for the same user stays as the operator wants it.
  const ours = [...entries].filter(([uid]) => !base.users.has(uid));
  if (ours.length === 0) return { acl: base, mark: undefined };
  return {
    acl: ours.reduce((acl, [uid, permissions]) => withUser(acl, uid, permissions), base),
    mark: { kind: 'added', uids: new Set(ours.map(([uid]) => uid)) },
  };
}

/** The mark as it is stored: `replaced <base64 of the ACL's xattr>` or `added <uid> <uid> …`. */
export function formatMark(mark: Mark | undefined): string {
  if (!mark) return '';
  if (mark.kind === 'replaced') return `replaced ${encode(mark.before).toString('base64')}`;
  return `added ${[...mark.uids].sort((a, b) => a - b).join(' ')}`;
}

/** Reads what formatMark writes; undefined where the text is none of ours. */
export function parseMark(text: string): Mark | undefined {
  const [kind, ...rest] = text.split(' ');
  if (kind === 'replaced') {
    const before = decode(Buffer.from(rest[0] ?? '', 'base64'));
    return before && { kind, before };
  }
  const uids = rest.map(Number);
  if (kind !== 'added' || uids.length === 0 || !uids.every(Number.isSafeInteger)) return undefined;
  return { kind, uids: new Set(uids) };
}
