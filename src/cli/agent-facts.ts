import { messageOf } from '../errors.ts';
import { listenerOf } from '../linux/unix-peer.ts';
import type { AgentFacts } from '../model/checks/service.ts';
import { fetchStatus } from './admin-client.ts';
import { CommandError } from './command-error.ts';
import { EXIT } from './exit-code.ts';

/** Asks the agent of this host, however it is run. @param socket where it is asked */
export async function agentFacts(socket: string): Promise<AgentFacts> {
  try {
    const { version, ready, reasons, warnings } = await fetchStatus(socket);
    const listener = await listenerOf(socket);
    return { kind: 'answers', pid: listener?.pid, version, isReady: ready, reasons, warnings };
  } catch (error) {
    const isStopped = error instanceof CommandError && error.exitCode === EXIT.notRunning;
    return { kind: isStopped ? 'stopped' : 'silent', why: messageOf(error) };
  }
}
