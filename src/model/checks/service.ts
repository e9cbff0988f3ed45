import { type CheckOf, failed, ok, warning } from './check.ts';

/** What systemd says of a unit, systemctl(1): the properties of `show`. */
export interface UnitFacts {
  readonly loadState: string;
  readonly activeState: string;
  readonly unitFileState: string;
  readonly mainPid: number;
  /** The units that it is started before. */
  readonly before: readonly string[];
  /** FileDescriptorStoreMax=. */
  readonly fdStoreMax: number;
  /** Whether its file has changed since systemd read it. */
  readonly isStale: boolean;
}

/** What is known of how the agent is run. */
export interface ServiceFacts {
  /** Undefined where systemd has not booted this host. */
  readonly systemd: { readonly version: number; readonly unit: UnitFacts | undefined } | undefined;
  /** Why systemd does not say, where it does not. */
  readonly systemdProblem: string | undefined;
  readonly agent: AgentFacts;
  /** The version of the program that checks. */
  readonly version: string;
}

/** The agent that runs on this host, as far as it answers. */
export type AgentFacts =
  | { readonly kind: 'stopped'; readonly why: string }
  | { readonly kind: 'silent'; readonly why: string }
  | {
      readonly kind: 'answers';
      readonly pid: number | undefined;
      readonly version: string;
      readonly isReady: boolean;
      readonly reasons: readonly string[];
      readonly warnings: readonly string[];
    };

/** The unit of deploy/systemd. */
export const UNIT = 'nomad-rootless.service';
const NOMAD = 'nomad.service';
/** FileDescriptorStorePreserve=, systemd's NEWS for 254. */
export const KEEPS_OVER_STOP = 254;

/** The checks of how the agent is run. */
export const SERVICE_CHECKS: readonly CheckOf<ServiceFacts>[] = [
  {
    id: 'systemd',
    title: 'systemd',
    judge: ({ systemd, systemdProblem }) => {
      if (systemdProblem !== undefined) return warning(systemdProblem);
      if (!systemd) {
        return warning(
          'has not booted this host: nothing keeps the gates open while the agent restarts, and tasks that start then fail',
        );
      }
      if (systemd.version >= KEEPS_OVER_STOP) return ok(String(systemd.version));
      return warning(`${systemd.version}: keeps the gates over a restart, from ${KEEPS_OVER_STOP} on over a stop, too`);
    },
  },
  {
    id: 'unit',
    title: 'unit',
    judge: ({ systemd, agent }) => {
      if (!systemd) return undefined;
      const { unit } = systemd;
      if (unit?.loadState !== 'loaded') {
        return agent.kind === 'answers'
          ? ok(`${UNIT} is not there: the agent is run in another way`)
          : warning(`${UNIT} is not there; install deploy/systemd/${UNIT}, or run the Nomad job of deploy/nomad`);
      }
      if (unit.isStale)
        return warning(`the file of ${UNIT} has changed since systemd read it`, 'systemctl daemon-reload');
      if (unit.fdStoreMax === 0) {
        return failed(
          `${UNIT} has no FileDescriptorStoreMax=: tasks that start while the agent restarts fail; use deploy/systemd/${UNIT}`,
        );
      }
      return ok(`${UNIT} is ${unit.activeState}`);
    },
  },
  {
    id: 'boot',
    title: 'boot',
    judge: ({ systemd, agent }) => {
      const unit = systemd?.unit;
      if (unit?.loadState !== 'loaded' || (isElsewhere(agent, unit) && unit.unitFileState === 'disabled'))
        return undefined;
      if (!/^(enabled|static|linked|generated)/.test(unit.unitFileState)) {
        return warning(
          `${UNIT} is ${unit.unitFileState || 'not enabled'}: after a reboot there are no gates`,
          `systemctl enable ${UNIT}`,
        );
      }
      return unit.before.includes(NOMAD)
        ? ok(`${UNIT} is started before ${NOMAD}`)
        : warning(`${UNIT} is not ordered before ${NOMAD}: the driver can find no gates; add Before=${NOMAD}`);
    },
  },
  {
    id: 'one_deployment',
    title: 'one deployment',
    judge: ({ systemd, agent }) => {
      const unit = systemd?.unit;
      if (agent.kind !== 'answers' || agent.pid === undefined || unit?.loadState !== 'loaded') return undefined;
      if (!isElsewhere(agent, unit)) return ok('the unit');
      if (!/^enabled/.test(unit.unitFileState)) return ok('not the unit');
      return failed(
        `process ${agent.pid} answers and is not that of ${UNIT}, which is enabled: use the unit or the Nomad job, not both`,
        `systemctl disable --now ${UNIT}`,
      );
    },
  },
  {
    id: 'agent',
    title: 'agent',
    judge: ({ agent, systemd, version }) => {
      if (agent.kind === 'stopped') {
        const canStart = systemd?.unit?.loadState === 'loaded';
        return failed(agent.why, canStart ? `systemctl enable --now ${UNIT}` : undefined);
      }
      if (agent.kind === 'silent') return failed(agent.why);
      if (!agent.isReady) return failed(`not ready: ${agent.reasons.join('; ')}`);
      if (agent.warnings.length > 0) return warning(agent.warnings.join('; '));
      if (agent.version === version) return ok(`ready, ${version}`);
      const restart = systemd?.unit?.mainPid === agent.pid ? `systemctl restart ${UNIT}` : undefined;
      return warning(`${agent.version} runs, ${version} is installed: restart it`, restart);
    },
  },
];

/** Whether an agent answers that is not the unit's: as a Nomad job. */
function isElsewhere(agent: AgentFacts, { mainPid }: UnitFacts): boolean {
  return agent.kind === 'answers' && agent.pid !== undefined && agent.pid !== mainPid;
}
