import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import * as z from 'zod';
import { signalAfter } from '../clock.ts';
import { failedWith, ParseError } from '../errors.ts';
import { type Explanation, ExplanationSchema } from '../model/explanation.ts';
import { type AgentStatus, AgentStatusSchema } from '../model/status.ts';
import { parse } from '../parse.ts';
import { printable } from '../printable.ts';
import { CommandError } from './command-error.ts';
import { EXIT } from './exit-code.ts';

/** To explain an allocation the agent may have to wait for Nomad and for the user's Podman. */
const TIMEOUT_MS = 15_000;

/**
 * Asks the running agent for its status.
 * @throws CommandError `agent_not_running` (exit code 3), `admin_refused` (not root), `admin_failed`
 */
export function fetchStatus(socketPath: string): Promise<AgentStatus> {
  return get(socketPath, '/v1/status', AgentStatusSchema);
}

/**
 * Asks the running agent to explain an allocation.
 * @param id the whole id
 * @throws as fetchStatus; CommandError `no_such_allocation` (exit code 4)
 */
export function fetchExplanation(socketPath: string, id: string): Promise<Explanation> {
  return get(socketPath, `/v1/explain/${id}`, ExplanationSchema);
}

async function get<T>(socketPath: string, path: string, schema: z.ZodType<T>): Promise<T> {
  try {
    const { status, body } = await ask(socketPath, path);
    if (status !== 200) throw refusedBy(status, body);
    return parse(schema, JSON.parse(body), `${socketPath}: ${path}`);
  } catch (error) {
    if (error instanceof ParseError) throw ofAnotherVersion(error);
    throw error instanceof CommandError ? error : notAnswered(socketPath, error);
  }
}

function ask(socketPath: string, path: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    request({ socketPath, path, signal: signalAfter(TIMEOUT_MS) }, (response) => {
      text(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject);
    })
      .on('error', reject)
      .end();
  });
}

function refusedBy(statusCode: number, text: string): CommandError {
  const message = printable(messageIn(text));
  if (statusCode === 404) return new CommandError(EXIT.noSuchAllocation, 'no_such_allocation', message);
  return new CommandError(EXIT.error, 'admin_failed', `the agent answered ${statusCode}: ${message}`);
}

/** The agent's errors are {error}. */
function messageIn(text: string): string {
  try {
    return z.object({ error: z.string() }).parse(JSON.parse(text)).error;
  } catch {
    return text.trim(); // no agent of ours
  }
}

function ofAnotherVersion(error: ParseError): CommandError {
  const message = `the agent's answer is not one of this version; restart the agent after an update: ${error.message}`;
  return new CommandError(EXIT.error, 'admin_failed', message, error);
}

function notAnswered(socketPath: string, error: unknown): CommandError {
  if (failedWith(error, 'ENOENT', 'ECONNREFUSED')) {
    const message = `the agent is not running: nothing listens on ${socketPath}; see \`systemctl status nomad-rootless\``;
    return new CommandError(EXIT.notRunning, 'agent_not_running', message, error);
  }
  if (failedWith(error, 'EACCES')) {
    return new CommandError(EXIT.error, 'admin_refused', `${socketPath}: only root may ask the agent; use sudo`, error);
  }
  return new CommandError(EXIT.error, 'admin_failed', `cannot ask the agent on ${socketPath}`, error);
}
