import { describe, expect, test } from 'vitest';
import { makeChecks } from '../../../../src/model/checks/check.ts';
import {
  type AgentFacts,
  SERVICE_CHECKS,
  type ServiceFacts,
  type UnitFacts,
} from '../../../../src/model/checks/service.ts';

const UNIT: UnitFacts = {
  loadState: 'loaded',
  activeState: 'active',
  unitFileState: 'enabled',
  mainPid: 7,
  before: ['shutdown.target', 'nomad.service'],
  fdStoreMax: 1024,
  isStale: false,
};
const ANSWERS: AgentFacts & { kind: 'answers' } = {
  kind: 'answers',
  pid: 7,
  version: '1.2.3',
  isReady: true,
  reasons: [],
  warnings: [],
};
const GOOD: ServiceFacts = {
  systemd: { version: 257, unit: UNIT },
  systemdProblem: undefined,
  agent: ANSWERS,
  version: '1.2.3',
};
const unit = (changed: Partial<UnitFacts>): Partial<ServiceFacts> => ({
  systemd: { version: 257, unit: { ...UNIT, ...changed } },
});
const answers = (changed: Partial<typeof ANSWERS>): Partial<ServiceFacts> => ({ agent: { ...ANSWERS, ...changed } });
const STOPPED: AgentFacts = { kind: 'stopped', why: 'the agent is not running' };

function complaints(facts: Partial<ServiceFacts>) {
  return makeChecks(SERVICE_CHECKS, { ...GOOD, ...facts }).filter(({ verdict }) => verdict !== 'ok');
}

describe('how the agent is run', () => {
  test('is well as its unit', () => {
    expect(makeChecks(SERVICE_CHECKS, GOOD).map(({ id, found }) => [id, found])).toEqual([
      ['systemd', '257'],
      ['unit', 'nomad-rootless.service is active'],
      ['boot', 'nomad-rootless.service is started before nomad.service'],
      ['one_deployment', 'the unit'],
      ['agent', 'ready, 1.2.3'],
    ]);
  });

  test('is well as a Nomad job, where there is no unit', () => {
    expect(complaints({ systemd: { version: 257, unit: undefined } })).toEqual([]);
  });

  test('is well as a Nomad job beside a unit that was disabled for it', () => {
    expect(complaints(unit({ unitFileState: 'disabled', mainPid: 0 }))).toEqual([]);
  });

  test.each<[string, Partial<ServiceFacts>, string, 'warning' | 'failed', RegExp, string?]>([
    ['a host without systemd', { systemd: undefined }, 'systemd', 'warning', /has not booted/],
    [
      'a systemd that hangs',
      { systemd: undefined, systemdProblem: 'systemctl show: timeout' },
      'systemd',
      'warning',
      /timeout/,
    ],
    ['an old systemd', { systemd: { version: 252, unit: UNIT } }, 'systemd', 'warning', /254/],
    ['a unit that was changed', unit({ isStale: true }), 'unit', 'warning', /changed/, 'systemctl daemon-reload'],
    ['a unit without a descriptor store', unit({ fdStoreMax: 0 }), 'unit', 'failed', /FileDescriptorStoreMax/],
    [
      'a unit that is not enabled',
      unit({ unitFileState: 'disabled' }),
      'boot',
      'warning',
      /disabled/,
      'systemctl enable nomad-rootless.service',
    ],
    ['a unit of another order', unit({ before: [] }), 'boot', 'warning', /Before=nomad\.service/],
    [
      'a job beside the unit',
      answers({ pid: 8 }),
      'one_deployment',
      'failed',
      /process 8/,
      'systemctl disable --now nomad-rootless.service',
    ],
    [
      'an agent that is stopped',
      { agent: STOPPED },
      'agent',
      'failed',
      /not running/,
      'systemctl enable --now nomad-rootless.service',
    ],
    ['an agent that hangs', { agent: { kind: 'silent', why: 'cannot ask' } }, 'agent', 'failed', /cannot ask/],
    [
      'an agent that is not ready',
      answers({ isReady: false, reasons: ['a', 'b'] }),
      'agent',
      'failed',
      /not ready: a; b/,
    ],
    ['an agent that warns', answers({ warnings: ['c'] }), 'agent', 'warning', /c/],
    [
      'another version',
      answers({ version: '1.2.2' }),
      'agent',
      'warning',
      /1\.2\.2 runs, 1\.2\.3/,
      'systemctl restart nomad-rootless.service',
    ],
  ])('as %s is told of', (_, facts, id, verdict, found, remedy) => {
    const wrong = complaints(facts);
    expect(wrong).toMatchObject([{ id, verdict, found: expect.stringMatching(found) }]);
    expect(wrong[0]?.remedy).toBe(remedy);
  });

  test('is told of with no command where there is nothing to start', () => {
    const systemd = { version: 257, unit: { ...UNIT, loadState: 'not-found', unitFileState: '', mainPid: 0 } };
    expect(complaints({ systemd, agent: STOPPED })).toEqual([
      { id: 'unit', title: 'unit', verdict: 'warning', found: expect.stringContaining('is not there') },
      { id: 'agent', title: 'agent', verdict: 'failed', found: 'the agent is not running' },
    ]);
  });
});
