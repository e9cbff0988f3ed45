import { Command, Option } from 'commander';
import { formatAge } from '../age.ts';
import { type Clock, systemClock } from '../clock.ts';
import type {
  AgentStatus,
  AllocationState,
  AllocationStatus,
  GateRefusal,
  GhostStatus,
  HeldCreate,
  UserStatus,
} from '../model/status.ts';
import { printable } from '../printable.ts';
import { EXIT_CODES_HELP } from './exit-code.ts';
import { pickAllocation } from './pick-allocation.ts';
import { redraw } from './redraw.ts';
import { renderTable } from './table.ts';
import { processTerminal, type Style, type Terminal } from './terminal.ts';

const HEADER = ['ALLOCATION', 'JOB', 'GROUP', 'USER', 'VIEW', 'ACL', 'NETNS', 'STATE', 'SINCE', 'LAST ERROR'];
const USER_HEADER = ['USER', 'UID', 'GATE', 'PODMAN', 'VERSION', 'SINCE', 'PROBLEM'];
const PODMAN_STYLES = { up: 'green', unknown: 'yellow', down: 'red' } as const;
const GHOST_HEADER = ['GHOST', 'USER', 'NAME', 'STATE', 'SINCE', 'REMOVED IN', 'WHY'];
const HELD_HEADER = ['USER', 'ALLOCATION', 'TASK', 'HELD FOR'];
const REFUSAL_HEADER = ['AGO', 'USER', 'ALLOCATION', 'TASK', 'CODE', 'REASON'];
/** The others are in the JSON. */
const MOST_REFUSALS = 20;
const SHORT_ID = 8;
/** The colours of the states. */
export const STYLES: Record<AllocationState, Style> = {
  ready: 'green',
  preparing: 'yellow',
  waiting: 'yellow',
  removing: 'yellow',
  refused: 'red',
  failing: 'red',
};

/** `nomad-rootless status [--json] [--config FILE] [ALLOC]`: what the running agent knows of this node's allocations. */
export function statusCommand(terminal: Terminal = processTerminal, clock: Clock = systemClock): Command {
  return new Command('status')
    .description("show the running agent's allocations, and whether it is ready")
    .argument('[alloc]', 'id of an allocation, or its beginning')
    .option('--json', 'print JSON')
    .option('--config <file>', 'configuration file, to find the admin socket')
    .addOption(new Option('--watch', 'redraw the terminal every 2 s, until Ctrl-C').conflicts('json'))
    .addHelpText('after', EXIT_CODES_HELP)
    .action(async (prefix: string | undefined, options: { json?: true; watch?: true; config?: string }) => {
      const { loadConfig } = await import('../config/load-config.ts');
      const { fetchStatus } = await import('./admin-client.ts');
      const { socket } = loadConfig({ file: options.config, env: process.env }).config.admin;
      const ask = async () => {
        const status = await fetchStatus(socket);
        return prefix === undefined ? status : about(status, pickAllocation(status.allocations, prefix));
      };
      const asText = async () => render(await ask(), terminal, clock.now());
      if (options.watch) return await redraw(asText, terminal, clock);
      terminal.write(options.json ? `${JSON.stringify(await ask(), null, 2)}\n` : await asText());
    });
}

function about(status: AgentStatus, allocation: AllocationStatus): AgentStatus {
  const ghosts = status.ghosts.filter(({ allocationId }) => allocationId === allocation.id);
  const refusals = status.refusals.filter(({ allocationId }) => allocationId === allocation.id);
  const held = status.held.filter(({ allocationId }) => allocationId === allocation.id);
  return { ...status, allocations: [allocation], ghosts, held, refusals };
}

/** The status as text. @param now milliseconds since the epoch, for ages */
export function render(status: AgentStatus, terminal: Pick<Terminal, 'paint'>, now: number): string {
  const { nomad, reasons, warnings, allocations, ghosts } = status;
  const readiness = status.ready ? terminal.paint('green', 'ready') : terminal.paint('red', 'not ready');
  const listing =
    nomad.lastListing === undefined ? 'never listed' : `last listed ${formatAge(now - nomad.lastListing)} ago`;
  const lines = [
    `nomad-rootless ${status.version}, up ${formatAge(now - status.startedAt)}: ${readiness}`,
    `Nomad: ${nomad.connected ? 'connected' : 'not connected'}, ${listing}, node ${status.nodeId || 'unknown'}`,
    ...reasons.map((reason) => `Not ready: ${printable(reason)}`),
    ...warnings.map((warning) => `Warning: ${printable(warning)}`),
  ].map((line) => `${line}\n`);
  const userRows = status.users.map((user) => userRow(user, terminal, now));
  const users = userRows.length === 0 ? '' : `\n${renderTable(USER_HEADER, userRows)}`;
  const rows = allocations.map((allocation) => row(allocation, terminal, now));
  const table = rows.length === 0 ? 'No allocation here has a podman user.\n' : renderTable(HEADER, rows);
  const held = status.held.map((create) => heldRow(create, now));
  const heldTable = held.length === 0 ? '' : `\nHeld at the gates:\n${renderTable(HELD_HEADER, held)}`;
  const left = ghosts.map((ghost) => ghostRow(ghost, now));
  const ghostTable = left.length === 0 ? '' : `\nGhosts:\n${renderTable(GHOST_HEADER, left)}`;
  const refused = status.refusals.slice(0, MOST_REFUSALS).map((refusal) => refusalRow(refusal, now));
  const refusalTable =
    refused.length === 0 ? '' : `\nLast refused at the gates:\n${renderTable(REFUSAL_HEADER, refused)}`;
  return `${lines.join('')}${users}\n${table}${heldTable}${ghostTable}${refusalTable}`;
}

function userRow(user: UserStatus, terminal: Pick<Terminal, 'paint'>, now: number) {
  const { name, uid, gate, podman, version, since, problem } = user;
  return [
    name,
    uid === undefined ? 'none' : String(uid),
    gate ?? 'none',
    { text: podman, paint: (text: string) => terminal.paint(PODMAN_STYLES[podman], text) },
    version ?? '',
    formatAge(now - since),
    problem ?? '',
  ];
}

function heldRow({ user, allocationId, task, since }: HeldCreate, now: number) {
  return [user, allocationId?.slice(0, SHORT_ID) ?? '', task ?? '', formatAge(now - since)];
}

function refusalRow({ at, user, allocationId, task, code, reason }: GateRefusal, now: number) {
  return [formatAge(now - at), user, allocationId?.slice(0, SHORT_ID) ?? '', task ?? '', code, reason];
}

function ghostRow({ kind, user, name, state, since, removedAt, why, lastError }: GhostStatus, now: number) {
  const removal = removedAt === undefined ? 'never' : formatAge(removedAt - now);
  return [kind, user, name, state, formatAge(now - since), removal, lastError ? `${why}; ${lastError.message}` : why];
}

function row(allocation: AllocationStatus, terminal: Pick<Terminal, 'paint'>, now: number) {
  const { id, users, view, acl, netns, state, since, lastError, late } = allocation;
  return [
    id.slice(0, SHORT_ID),
    allocation.namespace === 'default' ? allocation.jobId : `${allocation.jobId} (${allocation.namespace})`,
    allocation.taskGroup,
    users.join(','),
    view,
    acl,
    netns,
    { text: late ? `${state}, late` : state, paint: (text: string) => terminal.paint(STYLES[state], text) },
    formatAge(now - since),
    lastError?.message ?? '',
  ];
}
