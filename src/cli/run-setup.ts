import { isDeepStrictEqual } from 'node:util';
import { socketOf } from '../agent/host.ts';
import { signalAfter, systemClock } from '../clock.ts';
import { type Config, DEFAULT_FILE } from '../config/config.ts';
import { loadConfig } from '../config/load-config.ts';
import { USER_NAME } from '../config/schema.ts';
import { systemdFacts } from '../doctor/service.ts';
import { userFacts } from '../doctor/users.ts';
import { RefusedError } from '../errors.ts';
import { runAdminCommand } from '../linux/admin-command.ts';
import { showUnit } from '../linux/systemctl.ts';
import { shellWord } from '../model/checks/check.ts';
import { UNIT } from '../model/checks/service.ts';
import {
  type Change,
  commandsAgainst,
  commandsFor,
  planSetup,
  planUndo,
  planUnit,
  socketBlocks,
} from '../model/setup.ts';
import { make, takeBack } from '../setup/make-change.ts';
import { readRecord, writeRecord } from '../setup/record.ts';
import { agentFacts } from './agent-facts.ts';
import { CommandError } from './command-error.ts';
import { EXIT } from './exit-code.ts';
import type { Terminal } from './terminal.ts';

/** What `setup` is told. */
export interface SetupOptions {
  readonly dryRun?: true;
  readonly undo?: true;
  readonly config?: string;
}

const SYSTEMD_MS = 5000;

/**
 * Does for users what doctor asks for, or takes back what was done.
 * @throws RefusedError `not_root`; CommandError `bad_user`, `setup_obstacle` before anything is changed; as loadConfig and make
 */
export async function runSetup(users: readonly string[], options: SetupOptions, terminal: Terminal): Promise<void> {
  if (process.getuid?.() !== 0) throw new RefusedError('not_root', 'setup must run as root; use sudo');
  const bad = users.find((user) => !USER_NAME.test(user));
  if (bad !== undefined) throw new CommandError(EXIT.usage, 'bad_user', `${JSON.stringify(bad)} is not a user name`);
  const { config } = loadConfig({ file: options.config, env: process.env });
  const run: Run = { users, config, file: options.config ?? DEFAULT_FILE, dryRun: options.dryRun ?? false, terminal };
  await (options.undo ? undo(run) : setUp(run));
}

/** What is done for whom, and where that is told. */
interface Run {
  readonly users: readonly string[];
  readonly config: Config;
  /** Where that was read from. */
  readonly file: string;
  readonly dryRun: boolean;
  readonly terminal: Terminal;
}

async function setUp(run: Run): Promise<void> {
  const { users, config, file, dryRun, terminal } = run;
  const asked = new Map([
    ...config.users,
    ...users.map((user) => [user, config.users.get(user) ?? { socket: undefined }] as const),
  ]);
  const facts = await userFacts({ config: { ...config, users: asked }, clock: systemClock, socketOf }, undefined);
  const plans = facts
    .filter(({ name }) => users.includes(name))
    .map((ofUser) => planSetup(ofUser, config.users.has(ofUser.name)));
  const { systemd, systemdProblem } = await systemdFacts();
  if (systemdProblem !== undefined) throw new CommandError(EXIT.error, 'setup_obstacle', systemdProblem);
  const obstacles = plans.flatMap((plan) => ('obstacle' in plan ? [plan.obstacle] : []));
  if (obstacles.length > 0) throw new CommandError(EXIT.error, 'setup_obstacle', obstacles.join('\n'));
  const ofUsers = plans.flatMap((plan) => ('changes' in plan ? plan.changes : []));
  // Last: it starts with the users that it is to serve.
  const changes: Change[] = [...ofUsers, ...planUnit(systemd, await agentFacts(config.admin.socket))];
  for (const change of changes) {
    terminal.write(inWords(change, commandsFor(change), run));
    if (dryRun) continue;
    // Before it is made: what a crash leaves half made is known then.
    writeRecord([...without(readRecord(), change), change]);
    await make(change, file);
  }
  if (changes.length === 0)
    terminal.write(`nothing to do: ${users.join(', ')} ${users.length === 1 ? 'has' : 'have'} everything\n`);
  const isStarted = changes.some(({ kind }) => kind === 'unit');
  if (!isStarted && changes.some(({ kind }) => kind === 'config')) await reload(run);
  if (config.ordering !== 'gate') return;
  terminal.write(
    `\nNomad's client configuration needs these blocks, beside those of other users; restart Nomad after changing it:\n\n`,
  );
  terminal.write(socketBlocks(users, config.gate.dir));
}

async function undo(run: Run): Promise<void> {
  const { users, config, file, dryRun, terminal } = run;
  const { changes, served } = planUndo(readRecord(), users, config.users.keys());
  const isStopped = changes.some(({ kind }) => kind === 'unit');
  for (const change of changes) {
    terminal.write(inWords(change, commandsAgainst(change), run));
    if (dryRun) continue;
    await takeBack(change, file);
    writeRecord(without(readRecord(), change));
    // Before the user's Podman goes: a gate without one holds what comes.
    if (change.kind === 'config' && !isStopped) await reload(run);
  }
  if (changes.length === 0) terminal.write(`nothing to undo: setup has changed nothing for ${users.join(', ')}\n`);
  if (served.length > 0) terminal.write(`${UNIT} stays enabled, for ${served.join(', ')}\n`);
}

function without(changes: readonly Change[], change: Change): Change[] {
  return changes.filter((one) => !isDeepStrictEqual(one, change));
}

/** A change as a line: the commands, or that the configuration is edited. */
function inWords(change: Change, commands: readonly (readonly string[])[], { file, dryRun }: Run): string {
  const whose = change.kind === 'unit' ? '' : `${change.user}: `;
  if (commands.length === 0) return `${whose}${dryRun ? 'would edit' : 'edits'} users in ${file}\n`;
  const said = commands.map((command) => command.map(shellWord).join(' ')).join('; ');
  return `${whose}${dryRun ? 'would run' : 'runs'} ${said}\n`;
}

async function reload({ config, file, dryRun, terminal }: Run): Promise<void> {
  const shown = await showUnit(UNIT, ['ActiveState'], signalAfter(SYSTEMD_MS));
  if (shown.get('ActiveState') === 'active') {
    terminal.write(`${dryRun ? 'would run' : 'runs'} systemctl reload ${UNIT}\n`);
    if (!dryRun) await runAdminCommand(['systemctl', 'reload', UNIT]);
    return;
  }
  const { kind } = await agentFacts(config.admin.socket);
  terminal.write(
    kind === 'stopped'
      ? `${UNIT} is not active: nothing to reload; \`systemctl start ${UNIT}\` starts it\n`
      : `${UNIT} is not active, and an agent runs in another way: have it read its configuration again, where that is ${file}\n`,
  );
}
