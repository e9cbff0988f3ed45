import { Command } from 'commander';
import { formatAge } from '../age.ts';
import { type Clock, systemClock } from '../clock.ts';
import { isAllocationId } from '../model/allocation.ts';
import type { Explanation, PartState, TaskExplanation } from '../model/explanation.ts';
import { printable } from '../printable.ts';
import { EXIT_CODES_HELP } from './exit-code.ts';
import { pickAllocation } from './pick-allocation.ts';
import { STYLES } from './status.ts';
import { renderTable } from './table.ts';
import { processTerminal, type Style, type Terminal } from './terminal.ts';

const PART_STYLES: Record<PartState, Style> = {
  done: 'green',
  missing: 'yellow',
  left: 'yellow',
  waiting: 'yellow',
  refused: 'red',
  failed: 'red',
};

/** `nomad-rootless explain [--json] [--config FILE] ALLOC`: whom its tasks run as and why, and what was done for them. */
export function explainCommand(terminal: Terminal = processTerminal, clock: Clock = systemClock): Command {
  return new Command('explain')
    .description('show for one allocation, task by task, what was decided and why, and what was done')
    .argument('<alloc>', 'id of an allocation; its beginning is enough if it has a podman user')
    .option('--json', 'print JSON')
    .option('--config <file>', 'configuration file, to find the admin socket')
    .addHelpText('after', EXIT_CODES_HELP)
    .action(async (given: string, options: { json?: true; config?: string }) => {
      const { loadConfig } = await import('../config/load-config.ts');
      const { fetchExplanation, fetchStatus } = await import('./admin-client.ts');
      const { socket } = loadConfig({ file: options.config, env: process.env }).config.admin;
      const whole = given.toLowerCase();
      const id = isAllocationId(whole) ? whole : pickAllocation((await fetchStatus(socket)).allocations, given).id;
      const explanation = await fetchExplanation(socket, id);
      const text = options.json
        ? `${JSON.stringify(explanation, null, 2)}\n`
        : renderExplanation(explanation, terminal, clock.now());
      terminal.write(text);
    });
}

/** The explanation as text. @param now milliseconds since the epoch, for ages */
function renderExplanation(explanation: Explanation, terminal: Pick<Terminal, 'paint'>, now: number): string {
  const { id, namespace, jobId, parentJobId, taskGroup, tasks, parts } = explanation;
  const parent = parentJobId === undefined ? '' : `, child of ${parentJobId}`;
  const lines = [
    `Allocation ${id}`,
    `Job ${jobId}${parent}, namespace ${namespace}, group ${taskGroup}`,
    ...verdictLines(explanation),
  ].map(printable);
  const rows = parts.map(({ kind, state, what }) => {
    const painted = { text: state, paint: (text: string) => terminal.paint(PART_STYLES[state], text) };
    return [kind, painted, what.join('; ')];
  });
  return [
    ...lines,
    ...stateLines(explanation, terminal, now),
    ...(explanation.turnedAway ?? []).map(({ at, task, reason }) =>
      printable(
        `Refused at the gate ${formatAge(now - at)} ago${task === undefined ? '' : `, task ${task}`}: ${reason}`,
      ),
    ),
    ...tasks.flatMap((task) => ['', ...taskLines(task, explanation, terminal)]),
    '',
    rows.length === 0 ? 'Nothing on this host belongs to it.\n' : renderTable(['WHAT', 'STATE', ''], rows),
  ].join('\n');
}

function stateLines(
  { state, since, lastError }: Explanation,
  terminal: Pick<Terminal, 'paint'>,
  now: number,
): string[] {
  if (state === undefined) return [];
  const age = since === undefined ? '' : ` since ${formatAge(now - since)}`;
  const error = lastError ? `: ${printable(lastError.message)}` : '';
  return [`State: ${terminal.paint(STYLES[state], state)}${age}${error}`];
}

function verdictLines({ verdict, refusal, readError, notApplied, metaKey }: Explanation): string[] {
  const said = {
    access: [],
    refused: refusal ? [`Refused: ${refusal.reason}`] : [],
    unmanaged: [
      `Not managed: no podman task has ${metaKey}; add meta { ${metaKey} = "alice" } to the job, group or task`,
    ],
    finished: ['It has finished: nothing is started for it any more'],
    gone: ['It is on another node'],
  }[verdict];
  return [
    ...said,
    ...notApplied.map((message) => `Not applied: ${message}`),
    ...(readError ? [`Nomad does not answer: ${readError.message}`] : []),
  ];
}

function taskLines(task: TaskExplanation, { metaKey }: Explanation, terminal: Pick<Terminal, 'paint'>): string[] {
  const { name, driver, otherUser, meta, user, runsAs, policy, refusal, volumes } = task;
  const head = terminal.paint('bold', printable(`Task ${name} (${driver})`));
  if (driver !== 'podman') {
    const who = otherUser === undefined ? 'the default user of its driver' : otherUser;
    return [head, printable(`  of another driver: started by Nomad itself, as ${who}`)];
  }
  const [deciding, ...others] = meta;
  const shown = (value: string) => `${metaKey} = ${JSON.stringify(value)}`;
  const overridden = others.map(({ level, value }) => `${shown(value)} of the ${level}`);
  const lines = [
    deciding
      ? `${shown(deciding.value)}, from the meta of the ${deciding.level}${overridden.length > 0 ? `; it overrides ${overridden.join(' and ')}` : ''}`
      : `no ${metaKey} in the meta of the task, the group or the job`,
    ...(deciding?.value === '' ? ['an empty value stands for no user'] : []),
    ...(user ? [policyLine(policy, user.name)] : []),
    ...(runsAs ? [`runs as ${runsAs.name} (uid ${runsAs.uid})`] : []),
    ...(refusal ? [`refused: ${refusal.reason}`] : []),
    ...volumes.map(({ name: volume, type, source, readOnly, path }) => {
      const where = path === undefined ? '' : ` at ${path}`;
      return `mounts volume ${volume}: ${type} volume ${source}${where}${readOnly ? ', read-only' : ''}`;
    }),
  ];
  return [head, ...lines.map((line) => printable(`  ${line}`))];
}

function policyLine(policy: TaskExplanation['policy'], user: string): string {
  if (!policy) return 'no policy: every job may run as every configured user';
  if (!policy.entry) return `no entry of the policy lets this job run as ${user}`;
  const { place, namespace, jobs } = policy.entry;
  return `entry ${place} of the policy (namespace ${namespace}, jobs ${jobs}) allows ${user}`;
}
