import { socketOf } from '../agent/host.ts';
import { signalAfter, systemClock } from '../clock.ts';
import { knownSecrets } from '../config/known-secrets.ts';
import { type LoadedConfig, loadConfig } from '../config/load-config.ts';
import { Bundle, inJson } from '../debug/bundle.ts';
import { fetchMetrics } from '../debug/metrics.ts';
import { addMountinfo } from '../debug/mountinfo.ts';
import { answerOf } from '../doctor/nomad.ts';
import { NotYetError } from '../errors.ts';
import { lastLogLines } from '../linux/journal.ts';
import { writeNewFile } from '../linux/new-file.ts';
import { type Answer, worstOf } from '../model/checks/check.ts';
import { printable } from '../printable.ts';
import { lookUpHostUser } from '../reconcile/host-user.ts';
import { VERSION } from '../version.ts';
import { fetchExplanation, fetchStatus } from './admin-client.ts';
import { configInJson } from './check-config.ts';
import { CommandError } from './command-error.ts';
import { EXIT } from './exit-code.ts';
import { allChecks } from './run-doctor.ts';
import type { Terminal } from './terminal.ts';

/** What `debug` is told. */
export interface DebugOptions {
  readonly output?: string;
  readonly config?: string;
}

const UNIT = 'nomad-rootless.service';
const LOG_LINES = 5000;
const LOG_MS = 20_000;
const LOG_BYTES = 16 * 1024 * 1024;
/** Each is asked of the agent in turn, which has other things to do. */
const MOST_EXPLAINED = 200;
const EXPLAIN_MS = 60_000;

/**
 * Collects for a bug report what this host says, secrets removed, and writes it into a new file that only root can read.
 * @throws RefusedError `file_exists`; CommandError `not_root`, `token_unreadable`
 */
export async function runDebug({ output, config: file }: DebugOptions, terminal: Terminal): Promise<void> {
  if (process.getuid?.() !== 0) throw new CommandError(EXIT.error, 'not_root', 'debug must run as root; use sudo');
  const loaded = await answerOf(async () => loadConfig({ file, env: process.env }));
  const bundle = new Bundle(secretsOf(loaded));
  await bundle.add(
    'doctor.json',
    () => allChecks(file, undefined),
    (checks) => inJson({ verdict: worstOf(checks), checks }),
  );
  if ('value' in loaded) await addAll(bundle, loaded.value);
  else bundle.miss('config.json, and all that it leads to', loaded.problem);
  const signal = signalAfter(LOG_MS);
  await bundle.add(
    'log.txt',
    () => logOfUnit(signal),
    (text) => text,
  );
  bundle.put(
    'about.json',
    inJson({ version: VERSION, node: process.version, missing: Object.fromEntries(bundle.missing) }),
  );

  const stamp = new Date(systemClock.now()).toISOString().replace(/[-:]|\..*/g, '');
  const directory = `nomad-rootless-debug-${stamp}Z`;
  const path = output ?? `${directory}.tar.gz`;
  writeNewFile(path, await bundle.archive(directory, systemClock));
  terminal.write(render(path, bundle));
}

/** @throws NotYetError `no_journal`, also where there is a journal without a line of the unit */
async function logOfUnit(signal: AbortSignal): Promise<string> {
  const text = await lastLogLines(UNIT, { lines: LOG_LINES, mostBytes: LOG_BYTES, signal });
  if (text !== '') return text;
  const ofJob =
    'of the Nomad job the log is with Nomad: add what `nomad alloc logs` says of its allocation on this node';
  throw new NotYetError('no_journal', `the journal has no line of ${UNIT}; ${ofJob}`);
}

async function addAll(bundle: Bundle, loaded: LoadedConfig): Promise<void> {
  const { admin, metrics, users } = loaded.config;
  bundle.put('config.json', configInJson(loaded, []));
  const status = await bundle.add('status.json', () => fetchStatus(admin.socket), inJson);
  await addExplanations(bundle, admin.socket, status?.allocations.map(({ id }) => id) ?? []);
  await bundle.add(
    'metrics.txt',
    () => fetchMetrics(metrics.address),
    (text) => text,
  );
  const asked = [...users].map(async ([name, { socket }]) => {
    const account = await answerOf(() => lookUpHostUser(name));
    if ('value' in account && account.value)
      return [{ ...account.value, name, socket: socketOf(account.value.uid, socket) }];
    bundle.miss(`mountinfo/${name}.txt`, 'problem' in account ? account.problem : `there is no user ${name}`);
    return [];
  });
  const accounts = await Promise.all(asked);
  await addMountinfo(bundle, { adminSocket: admin.socket, users: accounts.flat(), clock: systemClock });
}

async function addExplanations(bundle: Bundle, socket: string, ids: readonly string[]): Promise<void> {
  const until = systemClock.monotonic() + EXPLAIN_MS;
  for (const [index, id] of ids.entries()) {
    if (index === MOST_EXPLAINED || systemClock.monotonic() > until) {
      return bundle.miss(
        'allocations',
        `${ids.length - index} of ${ids.length} are left out: too many, or it took too long`,
      );
    }
    await bundle.add(`allocations/${id}.json`, () => fetchExplanation(socket, id), inJson);
  }
}

/** What cannot be known cannot be removed. */
function secretsOf(loaded: Answer<LoadedConfig>): string[] {
  try {
    return knownSecrets('value' in loaded ? loaded.value.config.nomad : undefined, process.env);
  } catch (error) {
    throw new CommandError(
      EXIT.error,
      'token_unreadable',
      "cannot read Nomad's token, to keep it out of what is collected",
      error,
    );
  }
}

function render(path: string, { names, missing }: Bundle): string {
  const lines = [
    `${path}, which only root can read, has:`,
    ...names.map((name) => `  ${name}`),
    ...(missing.size === 0 ? [] : ['It has not:', ...[...missing].map(([name, why]) => `  ${name}: ${why}`)]),
    'Tokens, and what is named or looks like a secret, were removed; names of jobs, users and paths are in it. Look through it before',
    'you hand it on.',
  ];
  return lines.map((line) => `${printable(line)}\n`).join('');
}
