import type { ServerResponse } from 'node:http';
import type { ServerState, StreamedEvents } from './server-state.ts';

interface Stream {
  readonly state: ServerState;
  readonly query: URLSearchParams;
  readonly response: ServerResponse;
  readonly heartbeatMs: number;
}

/**
 * `GET /v1/event/stream` for the topic Allocation: one JSON object a line, `{}` at once and as heartbeat. `index=0`
 * replays the buffer; another index resumes at it, that index included.
 */
export function streamEvents({ state, query, response, heartbeatMs }: Stream): void {
  const keys = wantedKeys(query.getAll('topic'));
  const namespace = query.get('namespace') ?? 'default';
  const send = (streamed: StreamedEvents | undefined) => {
    const events = (streamed?.Events ?? []).filter(
      ({ Key, FilterKeys, Namespace }) =>
        (keys.has('*') || [Key, ...FilterKeys].some((key) => keys.has(key))) &&
        (namespace === '*' || namespace === Namespace),
    );
    if (events.length > 0) response.write(`${JSON.stringify({ Index: streamed?.Index, Events: events })}\n`);
  };
  const heartbeat = () => response.write('{}\n');

  heartbeat();
  for (const streamed of state.eventsFrom(Number(query.get('index') ?? 0))) send(streamed);
  state.on('change', send);
  const timer = setInterval(heartbeat, heartbeatMs);
  response.on('close', () => {
    clearInterval(timer);
    state.off('change', send);
  });
}

/** The keys asked for of the topic Allocation; `*` for all of it. Without any topic Nomad sends everything. */
function wantedKeys(topics: readonly string[]): ReadonlySet<string> {
  if (topics.length === 0) return new Set(['*']);
  return new Set(
    topics.flatMap((topic) => {
      const [name, key = '*'] = topic.split(':');
      return name === 'Allocation' || name === '*' ? [key] : [];
    }),
  );
}
