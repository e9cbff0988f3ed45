import { Client } from 'undici';
import { z } from 'zod';
import { ParseError } from '../errors.ts';
import type { AgentStatus } from '../model/status.ts';
import { CommandError } from './command-error.ts';
import { EXIT } from './exit-code.ts';

const TIMEOUT_MS = 5000;

const AgentStatusSchema = z.object({
  version: z.string(),
  nodeId: z.string(),
  startedAt: z.number(),
  nomad: z.object({ connected: z.boolean(), lastListing: z.number().optional() }),
  ready: z.boolean(),
  reasons: z.array(z.string()),
  warnings: z.array(z.string()),
  allocations: z.array(
    z.object({
      id: z.string(),
      namespace: z.string(),
      jobId: z.string(),
      taskGroup: z.string(),
      users: z.array(z.string()),
      access: z.enum(['mount', 'acl']),
      view: z.enum(['mounted', 'missing', 'none']),
      acl: z.enum(['set', 'missing', 'none']),
      netns: z.enum(['owned', 'missing', 'none']),
      state: z.enum(['preparing', 'ready', 'waiting', 'refused', 'failing', 'removing']),
      since: z.number(),
      lastError: z.object({ code: z.string(), message: z.string() }).optional(),
      late: z.boolean(),
    }),
  ),
}) satisfies z.ZodType<AgentStatus>;

/**
 * Asks the running agent for its status.
 * @throws CommandError `agent_not_running` (exit code 3), `admin_refused` (not root), `admin_failed`; ParseError
 */
export async function fetchStatus(socketPath: string): Promise<AgentStatus> {
  const body = await get(socketPath, '/v1/status');
  const parsed = AgentStatusSchema.safeParse(body);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const where = `${socketPath}: /v1/status: ${issue?.path.join('.')}`;
  throw new ParseError(where, 'a status as this version knows it', issue?.message ?? 'none');
}

async function get(socketPath: string, path: string): Promise<unknown> {
  const client = new Client('http://localhost', { socketPath, headersTimeout: TIMEOUT_MS, bodyTimeout: TIMEOUT_MS });
  try {
    const { statusCode, body } = await client.request({ method: 'GET', path });
    const text = await body.text();
    if (statusCode === 200) return JSON.parse(text);
    throw new CommandError(EXIT.error, 'admin_failed', `the agent answered ${statusCode}: ${text.trim()}`);
  } catch (error) {
    throw error instanceof CommandError ? error : explain(socketPath, error);
  } finally {
    await client.destroy();
  }
}

function explain(socketPath: string, error: unknown): CommandError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (['ENOENT', 'ECONNREFUSED'].includes(code)) {
    const message = `the agent is not running: nobody listens on ${socketPath}; see \`systemctl status nomad-rootless\``;
    return new CommandError(EXIT.notRunning, 'agent_not_running', message, error);
  }
  if (code === 'EACCES') {
    return new CommandError(EXIT.error, 'admin_refused', `${socketPath}: only root may ask the agent; use sudo`, error);
  }
  return new CommandError(EXIT.error, 'admin_failed', `cannot ask the agent on ${socketPath}`, error);
}
