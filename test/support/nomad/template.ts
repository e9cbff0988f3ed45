import { dirname, join, relative } from 'node:path';
import { mustRun } from '../command.ts';

/** A `template` block of a task. */
export interface TemplateSpec {
  /** Below the task's directory, or `../alloc/…`. */
  readonly destination: string;
  /** What is not plain text is one form only: see `variable`. */
  readonly content: string;
  /** In octal; 0644 unless told. */
  readonly perms?: string;
  readonly uid?: number;
  readonly gid?: number;
}

/** The text of a template that shows one item of a Nomad variable, so that it is rendered anew when that changes. */
export function variable(path: string, item: string): string {
  return `{{ with nomadVar "${path}" }}{{ .${item} }}{{ end }}`;
}

const VARIABLE = /\{\{ with nomadVar "([^"]+)" \}\}\{\{ \.(\w+) \}\}\{\{ end \}\}/g;

/** Nomad's variables: path to items. */
export type Variables = ReadonlyMap<string, Readonly<Record<string, string>>>;

/** The templates of a task as the API has them. */
export function templatesBlock(templates: readonly TemplateSpec[]): object[] {
  return templates.map(({ destination, content, perms = '0644', uid, gid }) => ({
    EmbeddedTmpl: content,
    DestPath: destination,
    ChangeMode: 'noop',
    Perms: perms,
    ...(uid === undefined ? {} : { Uid: uid }),
    ...(gid === undefined ? {} : { Gid: gid }),
  }));
}

/**
 * `nomad template-render write`, whose sandbox is a chroot to the allocation's directory; then consul-template's Render:
 * nothing where the content is there already, else a new file beside it that is renamed.
 */
const RENDER = `
my ($root, $path, $perms, $uid, $gid) = @ARGV;
my $content = do { local $/; <STDIN> };
chroot $root or die "chroot: $!\\n";
chdir '/';
if (open my $old, '<', $path) { local $/; my $text = <$old>; exit 0 if ($text // '') eq $content }
my @made = split m{/}, $path;
pop @made;
my $parent = '';
for (grep { $_ ne '' } @made) { $parent .= "/$_"; -d $parent or mkdir $parent, 0755 or die "mkdir $parent: $!\\n" }
my $new = "$parent/$$-" . time;
open my $file, '>', $new or die "$new: $!\\n";
print $file $content;
close $file or die "$new: $!\\n";
chmod oct($perms), $new or die "chmod: $!\\n";
rename $new, $path or die "rename: $!\\n";
chown $uid, $gid, $path or die "chown: $!\\n" if $uid >= 0 || $gid >= 0;
`;

/** Renders a template into a task's directory, as root. @throws Error where that fails, and where it would be outside of the allocation */
export async function renderTemplate(
  taskDirectory: string,
  { destination, content, perms = '0644', uid = -1, gid = -1 }: TemplateSpec,
  variables: Variables,
): Promise<void> {
  const root = dirname(taskDirectory);
  const path = `/${relative(root, join(taskDirectory, destination))}`;
  if (path.startsWith('/..')) throw new Error('template destination path escapes alloc directory');
  const text = content.replace(VARIABLE, (_, name: string, item: string) => variables.get(name)?.[item] ?? '');
  await mustRun(['perl', '-e', RENDER, root, path, perms, String(uid), String(gid)], { input: text });
}
