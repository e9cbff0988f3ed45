import { signalAfter } from '../clock.ts';
import { codeOf, messageOf, NotYetError } from '../errors.ts';
import { programsIn } from '../linux/programs.ts';
import type { Answer } from '../model/checks/check.ts';
import type { NomadFacts } from '../model/checks/nomad.ts';
import type { AgentSelf, KnownOfSelf } from '../nomad/agent-self.ts';
import type { Nomad } from '../nomad/nomad.ts';
import { READ_JOB } from '../nomad/nomad-failure.ts';
import { dataDirFacts } from '../resources/data-dir-facts.ts';

const TIMEOUT_MS = 10_000;
/** Whoever may read allocations hears a heartbeat at once. */
const STREAM_MS = 5000;

/** What is asked for, and of whom. */
interface NomadQuestions {
  readonly nomad: Pick<Nomad, 'self' | 'driver' | 'eventStart' | 'eventLines'>;
  readonly address: string;
  readonly known: KnownOfSelf;
  /** @throws NotYetError where the node is not this machine's */
  readonly requireOwnNode: (self: AgentSelf) => void;
}

/** What Nomad says, each question with a limit in time, and what of this host follows from it. */
export async function nomadFacts({
  nomad,
  address,
  known,
  requireOwnNode,
}: NomadQuestions): Promise<Omit<NomadFacts, 'served' | 'gateTimeoutMs'>> {
  const self = await answerOf(() => nomad.self(signalAfter(TIMEOUT_MS), known));
  if (!('value' in self)) {
    const nothing = { driver: undefined, events: undefined, nodeProblem: undefined, dataDir: undefined };
    return { address, self, ...nothing, cniPlugins: new Set() };
  }
  const { nodeId, cniPath } = self.value;
  const driver = await answerOf(() => nomad.driver(nodeId, signalAfter(TIMEOUT_MS)));
  const node = await answerOf(async () => requireOwnNode(self.value));
  return {
    address,
    self,
    driver,
    events: 'value' in driver ? await answerOf(() => hearEvents(nomad, nodeId)) : undefined,
    nodeProblem: 'problem' in node ? node.problem : undefined,
    dataDir: await answerOf(async () => dataDirFacts(self.value)),
    cniPlugins: programsIn(cniPath),
  };
}

/** Without the right to read jobs the stream stands and says nothing at all. @throws NotYetError `nomad_denied`; as Nomad does */
async function hearEvents(nomad: NomadQuestions['nomad'], nodeId: string): Promise<true> {
  const start = await nomad.eventStart(nodeId, signalAfter(TIMEOUT_MS));
  const silence = signalAfter(STREAM_MS);
  try {
    for await (const _ of nomad.eventLines(start, silence)) return true;
  } catch (error) {
    if (!silence.aborted) throw error;
  }
  throw new NotYetError('nomad_denied', `Nomad's event stream says nothing: the token's policy lacks: ${READ_JOB}`);
}

/** What is asked for, or why there is no answer. */
export async function answerOf<T>(ask: () => Promise<T>): Promise<Answer<T>> {
  try {
    return { value: await ask() };
  } catch (error) {
    return { code: codeOf(error), problem: messageOf(error) };
  }
}
