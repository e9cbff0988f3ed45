import { socketOf } from '../agent/host.ts';
import { requireOwnNode } from '../agent/node-identity.ts';
import { nomadConnection } from '../agent/nomad-connection.ts';
import { systemClock } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { configFacts } from '../doctor/config.ts';
import { nomadFacts } from '../doctor/nomad.ts';
import { systemdFacts } from '../doctor/service.ts';
import { userFacts } from '../doctor/users.ts';
import { hostFacts } from '../linux/host-facts.ts';
import { type Check, headOf, makeChecks, type Verdict, worstOf } from '../model/checks/check.ts';
import { CONFIG_CHECKS, HOST_CHECKS } from '../model/checks/host.ts';
import { NOMAD_CHECKS, type NomadFacts } from '../model/checks/nomad.ts';
import { type AgentFacts, SERVICE_CHECKS } from '../model/checks/service.ts';
import { USER_CHECKS } from '../model/checks/user.ts';
import { Nomad } from '../nomad/nomad.ts';
import { VERSION } from '../version.ts';
import { agentFacts } from './agent-facts.ts';
import { CommandError } from './command-error.ts';
import { EXIT } from './exit-code.ts';
import { renderChecks } from './render-checks.ts';
import type { Terminal } from './terminal.ts';

/** What `doctor` is told. */
export interface DoctorOptions {
  readonly user?: string;
  readonly json?: true;
  readonly config?: string;
}

/** The worst verdict decides. */
const EXIT_CODES: Readonly<Record<Verdict, number>> = { ok: 0, warning: 1, failed: 2 };

/** Makes all checks and prints them. @returns the exit code @throws CommandError `not_root`: who is not root sees little of it */
export async function runDoctor({ user, json, config: file }: DoctorOptions, terminal: Terminal): Promise<number> {
  if (process.getuid?.() !== 0) {
    throw new CommandError(EXIT.usage, 'not_root', 'doctor must run as root, to see what the agent sees; use sudo');
  }
  const checks = await allChecks(file, user).catch((error: unknown) => {
    throw new CommandError(EXIT_CODES.failed, 'doctor_failed', 'cannot look at this host', error);
  });
  const verdict = worstOf(checks);
  terminal.write(json ? `${JSON.stringify({ verdict, checks }, null, 2)}\n` : renderChecks(checks, terminal));
  return EXIT_CODES[verdict];
}

/** What doctor checks. @param asked the one user that was asked for @throws what looking at this host throws */
export async function allChecks(file: string | undefined, asked: string | undefined): Promise<Check[]> {
  const { facts, config } = configFacts(file, process.env, asked);
  const ofHost = [...makeChecks(HOST_CHECKS, hostFacts()), ...makeChecks(CONFIG_CHECKS, facts)];
  return config ? [...ofHost, ...(await checksWith(config, asked, ofHost))] : ofHost;
}

async function checksWith(config: Config, asked: string | undefined, ofHost: readonly Check[]): Promise<Check[]> {
  const [systemd, agent, ofNomad, users] = await Promise.all([
    systemdFacts(),
    agentFacts(config.admin.socket),
    askNomad(config),
    userFacts({ config, clock: systemClock, socketOf }, asked),
  ]);
  const podmanSockets = new Map(
    [...config.users].map(([name, { socket }]) => [name, users.find((one) => one.name === name)?.socket ?? socket]),
  );
  const served = { gateDir: config.ordering === 'gate' ? config.gate.dir : undefined, podmanSockets };
  const nomad: NomadFacts = { ...ofNomad, served, gateTimeoutMs: config.gate.timeoutMs };
  const ofNode = makeChecks(NOMAD_CHECKS, nomad);
  const ofUsers = users.flatMap((facts) => makeChecks(USER_CHECKS, facts, facts.name));
  const facts = { ...systemd, agent: withoutChecked(agent, [...ofHost, ...ofNode, ...ofUsers]), version: VERSION };
  return [...makeChecks(SERVICE_CHECKS, facts), ...ofNode, ...ofUsers];
}

/** The agent makes some of the same checks, now and then: what they say now counts. */
function withoutChecked(agent: AgentFacts, checks: readonly Check[]): AgentFacts {
  if (agent.kind !== 'answers') return agent;
  const heads = checks.map(headOf);
  return { ...agent, warnings: agent.warnings.filter((told) => !heads.some((head) => told.startsWith(head))) };
}

async function askNomad(config: Config): Promise<Omit<NomadFacts, 'served' | 'gateTimeoutMs'>> {
  const { address } = config.nomad;
  const nomad = new Nomad(nomadConnection(config.nomad));
  try {
    return await nomadFacts({
      nomad,
      address,
      known: config.nomad,
      requireOwnNode: (self) => requireOwnNode(self, address),
    });
  } finally {
    await nomad.close();
  }
}
