import type { ServerResponse } from 'node:http';
import type { ServerState, StreamedEvents } from './server-state.ts';

interface StreamOptions {
  readonly state: ServerState;
  readonly query: URLSearchParams;
  readonly response: ServerResponse;
  readonly heartbeatMs: number;
}

/** An open event stream. */
export interface EventStream {
  /** Sends these bytes as they are. Resolves when they have left this process. */
  feed(bytes: Uint8Array): Promise<void>;
  /** Says nothing any more, heartbeats neither, and stays open. */
  mute(): void;
  close(): void;
}

/**
 * `GET /v1/event/stream` for the topic Allocation: one JSON object a line, `{}` at once and as heartbeat. `index=0`
 * replays the buffer; another index resumes at it, that index included. `namespace=*` is the namespaces that there are
 * when it begins.
 */
export function streamEvents({ state, query, response, heartbeatMs }: StreamOptions): EventStream {
  const keys = wantedKeys(query.getAll('topic'));
  const namespace = query.get('namespace') ?? 'default';
  const namespaces = namespace === '*' ? state.namespaces() : new Set([namespace]);
  const send = (streamed: StreamedEvents | undefined) => {
    const events = (streamed?.Events ?? []).filter(
      ({ Key, FilterKeys, Namespace }) =>
        (keys.has('*') || [Key, ...FilterKeys].some((key) => keys.has(key))) && namespaces.has(Namespace),
    );
    if (events.length > 0) response.write(`${JSON.stringify({ Events: events, Index: streamed?.Index })}\n`);
  };
  const heartbeat = () => response.write('{}\n');

  heartbeat();
  for (const streamed of state.eventsFrom(Number(query.get('index') ?? 0))) send(streamed);
  state.on('change', send);
  const timer = setInterval(heartbeat, heartbeatMs);
  const mute = () => {
    clearInterval(timer);
    state.off('change', send);
  };
  const closed = new Promise<void>((resolve) => response.on('close', resolve));
  response.on('close', mute);
  return {
    feed: (bytes) => Promise.race([closed, new Promise<void>((resolve) => response.write(bytes, () => resolve()))]),
    mute,
    close: () => response.destroy(),
  };
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
