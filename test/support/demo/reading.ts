import { basename, dirname, join } from 'node:path';
import { type CommandResult, runCommand } from '../command.ts';
import type { SandboxUser } from '../sandbox-user.ts';
import { LETTER } from './jobs.ts';
import type { Placed, Scene } from './scene.ts';

/** A way to read a file of an allocation. */
interface Way {
  readonly title: string;
  /** Whether this way is open to the allocation's own user; to others none is. */
  readonly isOpen: boolean;
  read(reader: SandboxUser, owner: Placed): Promise<CommandResult>;
}

const WAYS: readonly Way[] = [
  {
    title: 'INSIDE THEIR PODMAN',
    isOpen: true,
    read: (reader, owner) => reader.run(['podman', 'unshare', 'cat', letterOf(owner)]),
  },
  {
    // From a working directory that only root could enter: nothing but the lock on the allocation keeps anybody out, its user too.
    title: 'PAST THE DATA DIR',
    isOpen: false,
    read: (reader, { allocation: { directory } }) =>
      runCommand(['env', `--chdir=${dirname(directory)}`, ...as(reader), 'cat', join(basename(directory), LETTER)]),
  },
  {
    title: 'BY PATH ON THE HOST',
    isOpen: false,
    read: (reader, owner) => runCommand([...as(reader), 'cat', letterOf(owner)]),
  },
];

/**
 * Has each user try to read each user's file, in every way. Each way works for somebody, root where it is nobody else:
 * so a "no" is one of access and not of a wrong path.
 */
export async function tryToRead({ environment, screen, checks }: Scene, running: readonly Placed[]): Promise<void> {
  screen.heading('Who reads whose file, really tried');
  const rows: string[][] = [];
  for (const { user } of running) {
    const reader = environment.sandbox.user(user);
    for (const owner of running) {
      const isOwn = owner.user === user;
      const who = `${user} reads ${isOwn ? `${POSSESSIVE[user]} own` : `${owner.user}'s`}:`;
      const answers: string[] = [];
      for (const way of WAYS) {
        const answer = answerOf(await way.read(reader, owner), owner);
        const isExpected = (answer === 'yes') === (isOwn && way.isOpen) && answer !== WRONG;
        checks.check(`${who} ${isOwn && way.isOpen ? 'yes' : 'no'}, ${way.title.toLowerCase()}`, isExpected, answer);
        answers.push(answer);
      }
      rows.push([who, answers.includes('yes') ? 'yes' : 'no', ...answers]);
    }
  }
  for (const owner of running) {
    const answer = answerOf(await runCommand(['cat', letterOf(owner)]), owner);
    checks.check(`root reads ${owner.user}'s by its path on the host`, answer === 'yes', answer);
    rows.push([`root reads ${owner.user}'s:`, 'yes', '', '', answer]);
  }
  screen.table(['', '', ...WAYS.map(({ title }) => title)], rows);
}

const POSSESSIVE: Readonly<Record<string, string>> = { alice: 'her', bob: 'his' };
const WRONG = 'yes, but it is not what the task wrote';

function answerOf({ code, stdout, stderr }: CommandResult, owner: Placed): string {
  if (code !== 0) return `no (${stderr.trim().split(': ').at(-1)})`;
  return stdout === `for ${owner.user} only\n` ? 'yes' : WRONG;
}

function letterOf({ allocation }: Placed): string {
  return join(allocation.directory, LETTER);
}

function as({ uid, gid }: SandboxUser): string[] {
  return ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups'];
}
